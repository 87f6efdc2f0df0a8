using SafePool.Diagnostics;
using SafePool.Enlistments;
using SafePool.Leases;
using SafePool.Options;
using SafePool.Telemetry;

namespace SafePool.Connections;

/// <summary>The careful way back, for every return that is not plain: closes, within bounds, and settles the place.</summary>
/// <remarks>
/// <para>
/// What cannot be closed within <see cref="PoolSettings.ReturnPatience"/> is ended by the server, and its place is quarantined until the
/// connection is surely gone or at rest; whoever returned it does not wait for that.
/// </para>
/// <para>Invariant: every return ends in exactly one HandOn or Vacate of its place, whatever throws, and however late.</para>
/// </remarks>
internal sealed class ConnectionReturner(PoolParts parts, RestingPlaces resting, ConnectionOpener opener, EnlistedPlaces enlisted)
{
    private readonly ConnectionCloser _closer = new(parts, enlisted);

    /// <inheritdoc cref="ConnectionCloser.HasCeremony"/>
    public bool HasCeremony => _closer.HasCeremony;

    /// <summary>Returns a settled lease whose place the caller holds. Completes synchronously when <paramref name="blocking"/>.</summary>
    /// <param name="slot">The place, with the connection of the lease in it.</param>
    /// <param name="blocking">The caller blocks, but not for a busy connection: that goes on in the background.</param>
    /// <param name="retire">The physical connection must not be used again.</param>
    public ValueTask ReturnAsync(LeaseSlot slot, bool blocking, bool retire = false)
    {
        retire |= parts.Gate.TryClaimSurplus(slot.Place);
        if (!blocking || !_closer.IsBusy(slot.Connection!))
        {
            return SettleAsync(slot, _closer.CloseForSureAsync(slot, retire), blocking);
        }

        // Ending a command takes the other flow's cooperation: blocking for it could starve the very threads that must cooperate.
        _ = SettleAsync(slot, _closer.CloseForSureAsync(slot, retire), blocking: false).AsTask();
        return ValueTask.CompletedTask;
    }

    /// <summary>The rest of a plain return whose close has failed, or had something to say to the server.</summary>
    public ValueTask FinishAsync(LeaseSlot slot, Task closing, bool blocking)
        => SettleAsync(slot, _closer.FinishAsync(slot, closing), blocking);

    /// <summary>Retires the connection in a place that the pool itself holds, for as long as that takes.</summary>
    public void Retire(LeaseSlot slot) => _ = ReturnAsync(slot, blocking: false, retire: true).AsTask();

    /// <summary>Returns a connection that is still being looked at, once that is over.</summary>
    /// <param name="slot">The place, with the connection in it.</param>
    /// <param name="look">Never fails; says whether the connection is fit.</param>
    public void ReturnAfter(LeaseSlot slot, Task<bool> look)
    {
        _ = SettleAsync(slot, CloseAsync()).AsTask();

        async Task<CloseOutcome> CloseAsync()
        {
            var isFit = await look.ConfigureAwait(false);
            return await _closer.CloseForSureAsync(slot, retire: !isFit).ConfigureAwait(false);
        }
    }

    /// <summary>The same for one over which the server did not answer in time: then the others are not to be trusted either.</summary>
    public void GiveUpOn(LeaseSlot slot, Task<bool> look)
    {
        if (opener.TryRetireWith(slot))
        {
            NoteProbeFailed(slot);
        }

        ReturnAfter(slot, look);
    }

    /// <summary>The end of a return whose connection its user has closed already.</summary>
    public void ReturnClosed(LeaseSlot slot)
    {
        parts.Source.NoteRested(slot.Connection!);
        Conclude(slot, slot.Enlistment is null && _closer.IsStale(slot) ? CloseOutcome.Gone : CloseOutcome.AtRest);
    }

    /// <summary>The end of a return whose connection broke in its user's hands.</summary>
    public void ReturnBroken(LeaseSlot slot) => Conclude(slot, CloseOutcome.Broken);

    /// <summary>Waits for a close that never fails, but only so long.</summary>
    private ValueTask SettleAsync(LeaseSlot slot, Task<CloseOutcome> closing, bool blocking)
    {
        if (!blocking)
        {
            return SettleAsync(slot, closing);
        }

        Settle(slot, closing);
        return ValueTask.CompletedTask;
    }

    private async ValueTask SettleAsync(LeaseSlot slot, Task<CloseOutcome> closing)
    {
        try
        {
            Conclude(slot, await closing.WaitAsync(PoolSettings.ReturnPatience, parts.Time).ConfigureAwait(false));
        }
        catch (TimeoutException)
        {
            Quarantine(slot, closing);
        }
    }

    /// <summary>The same for a caller who blocks: in real time, and without a timer, which would need a thread of the pool.</summary>
    private void Settle(LeaseSlot slot, Task<CloseOutcome> closing)
    {
        var isClosed = false;
        try
        {
            isClosed = closing.Wait(PoolSettings.ReturnPatience);
        }
        finally
        {
            // Whatever ended the wait: an interrupt of the thread must not cost the place.
            if (isClosed)
            {
                Conclude(slot, closing.GetAwaiter().GetResult());
            }
            else
            {
                Quarantine(slot, closing);
            }
        }
    }

    private void Quarantine(LeaseSlot slot, Task<CloseOutcome> closing)
    {
        parts.Gate.Quarantine(slot.Place);
        parts.Recorder.Record(FlightEventKind.Quarantined, slot.Place, site: slot.Site);
        Log.Quarantined(parts.Logger, parts.Settings.Name, slot.Site.ToString(), PoolSettings.ReturnPatience.TotalSeconds);
        _ = ReleaseAsync(slot, closing);
    }

    private async Task ReleaseAsync(LeaseSlot slot, Task<CloseOutcome> closing)
    {
        if (parts.Source.Identify(slot.Connection!) is { } physical)
        {
            // Should it come to rest after all, its end may still be on its way.
            parts.Physicals.Expire(physical);
        }

        await parts.Source.TerminateAsync(slot.Connection!).ConfigureAwait(false);
        var outcome = await closing.ConfigureAwait(false);
        parts.Gate.Release(slot.Place);
        parts.Recorder.Record(FlightEventKind.Released, slot.Place);
        Log.QuarantineEnded(parts.Logger, parts.Settings.Name);
        Conclude(slot, outcome);
    }

    private void Conclude(LeaseSlot slot, CloseOutcome outcome)
    {
        // The first of a generation retires the others; those that broke in the same outage find it done.
        if (outcome == CloseOutcome.Broken && opener.TryRetireWith(slot))
        {
            if (slot.Site == default)
            {
                NoteProbeFailed(slot);
            }
            else
            {
                parts.Recorder.Record(FlightEventKind.Broken, slot.Place, site: slot.Site);
                Log.Broken(parts.Logger, parts.Settings.Name);
            }
        }

        if (outcome == CloseOutcome.AtRest)
        {
            if (!enlisted.TryPark(slot))
            {
                slot.Reset();
                resting.HandOn(slot);
            }
        }
        else
        {
            slot.Enlistment = null;
            slot.Reset();
            parts.Recorder.Record(FlightEventKind.Closed, slot.Place);
            parts.Physicals.CountClosed();
            resting.Vacate(slot.Place);
        }
    }

    private void NoteProbeFailed(LeaseSlot slot)
    {
        parts.Recorder.Record(FlightEventKind.ProbeFailed, slot.Place);
        Log.ProbeFailed(parts.Logger, parts.Settings.Name);
    }
}
