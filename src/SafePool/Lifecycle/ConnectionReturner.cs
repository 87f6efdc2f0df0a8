using SafePool.Driver;
using SafePool.Leases;
using SafePool.Lifecycle.Enlistments;
using SafePool.Lifecycle.Failures;
using SafePool.Logging;
using SafePool.Options;

namespace SafePool.Lifecycle;

/// <summary>The careful way back, for every return that is not plain: closes, within bounds, and settles the place.</summary>
/// <remarks>
/// <para>
/// What cannot be closed within <see cref="PoolSettings.ReturnPatience"/> is ended by the server, and its place is quarantined until the
/// connection is surely gone or at rest, or written off (<see cref="Quarantine"/>); whoever returned it does not wait for that.
/// </para>
/// <para>Invariant: every return ends in exactly one HandOn or Vacate of its place, whatever throws, and however late.</para>
/// </remarks>
internal sealed class ConnectionReturner(PoolParts parts, RestingPlaces resting, ConnectionOpener opener, EnlistedPlaces enlisted)
{
    // When a lease began is known to a quarter of a second.
    private static readonly TimeSpan _justBefore = TimeSpan.FromSeconds(1);

    private readonly ConnectionCloser _closer = new(parts, enlisted);
    private readonly Quarantine _quarantine = new(parts);

    private SecondOpinion SecondOpinion => field ??= new SecondOpinion(parts, resting, this);

    /// <inheritdoc cref="ConnectionCloser.HasCeremony"/>
    public bool HasCeremony => _closer.HasCeremony;

    /// <summary>Returns a settled lease whose place the caller holds. Completes synchronously when <paramref name="blocking"/>.</summary>
    /// <param name="slot">The place, with the connection of the lease in it.</param>
    /// <param name="blocking">The caller blocks, but not for a busy connection: that goes on in the background.</param>
    /// <param name="retire">The physical connection must not be used again.</param>
    public ValueTask ReturnAsync(LeaseSlot slot, bool blocking, bool retire = false)
    {
        AskIfUnheard(slot);

        // A transaction that goes on is not ended because the pool was made smaller meanwhile: its connection goes when it is over.
        retire |= slot.Enlistment is not { IsFree: false } && parts.Gate.TryClaimSurplus(slot.Place);
        var lease = new ClosingLease(slot);
        if (!blocking || !_closer.IsBusy(lease.Connection))
        {
            return SettleAsync(slot, lease, _closer.CloseForSureAsync(lease, retire), blocking);
        }

        // Ending a command takes the other flow's cooperation: blocking for it could starve the very threads that must cooperate.
        _ = SettleAsync(slot, lease, _closer.CloseForSureAsync(lease, retire), blocking: false).AsTask();
        return ValueTask.CompletedTask;
    }

    /// <summary>The rest of a plain return whose close has failed, or had something to say to the server.</summary>
    public ValueTask FinishAsync(LeaseSlot slot, Task closing, bool blocking)
    {
        var lease = new ClosingLease(slot);
        return SettleAsync(slot, lease, _closer.FinishAsync(lease, closing), blocking);
    }

    /// <summary>Retires the connection in a place that the pool itself holds, for as long as that takes.</summary>
    public void Retire(LeaseSlot slot) => _ = ReturnAsync(slot, blocking: false, retire: true).AsTask();

    /// <summary>Returns a connection that is still being looked at, once that is over.</summary>
    /// <param name="slot">The place, with the connection in it.</param>
    /// <param name="look">Never fails; says whether the connection is fit.</param>
    public void ReturnAfter(LeaseSlot slot, Task<bool> look)
    {
        var lease = new ClosingLease(slot);
        var physical = slot.Connection is { } connection ? parts.Source.Identify(connection) : null;
        _ = SettleAsync(slot, lease, CloseAsync(), blocking: false).AsTask();

        async Task<CloseOutcome> CloseAsync()
        {
            var isFit = await look.ConfigureAwait(false);
            if (isFit && physical is not null)
            {
                parts.Physicals.NoteSeen(physical);
            }

            var outcome = await _closer.CloseForSureAsync(lease, retire: !isFit).ConfigureAwait(false);
            if (outcome != CloseOutcome.Broken || physical is not { BrokeAlone: true })
            {
                return outcome;
            }

            physical.IsRetired = true;
            return CloseOutcome.Gone;
        }
    }

    /// <summary>The same for one over which the server has not answered yet: the others are asked once it is silent for too long, before all are retired.</summary>
    public void GiveUpOn(LeaseSlot slot, Task<bool> look)
    {
        var physical = slot.Connection is { } connection ? parts.Source.Identify(connection) : null;
        var silence = new Silence(physical, opener.HostOf(slot.Connection), slot.Generation, physical?.AskedAt ?? parts.Clock.Exact);
        ReturnAfter(slot, look);
        _ = SeekAsync(silence, look);
    }

    /// <summary>Retires a generation of which nobody answers, at one host where there are several.</summary>
    public void RetireSilent(Silence silence)
    {
        if (opener.TryRetire(silence.Host, silence.Generation, silence.Since))
        {
            parts.Recorder.Record(FlightEventKind.ProbeFailed);
            Log.ProbeFailed(parts.Logger, parts.Settings.Name);
        }
    }

    /// <summary>The end of a return whose connection its user has closed already.</summary>
    public void ReturnClosed(LeaseSlot slot)
    {
        AskIfUnheard(slot);
        parts.Source.NoteRested(slot.Connection!);
        Conclude(slot, slot.Enlistment is null && _closer.IsStale(slot.Generation) ? CloseOutcome.GoneFromRest : CloseOutcome.AtRest);
    }

    /// <summary>The end of a return whose connection broke in its user's hands.</summary>
    public void ReturnBroken(LeaseSlot slot) => Conclude(slot, CloseOutcome.Broken);

    /// <summary>Completes synchronously when it was waited for long enough: whoever asked may leave earlier.</summary>
    private async Task SeekAsync(Silence silence, Task<bool> look)
    {
        var left = silence.Connection is null ? TimeSpan.Zero : PoolSettings.ReturnPatience - parts.Clock.RunningSince(silence.Since);
        if (left > TimeSpan.Zero && await ConnectionCare.IsOverAsync(look, left, parts.Clock, CancellationToken.None).ConfigureAwait(false))
        {
            return;
        }

        if (silence.Connection is { } physical)
        {
            PhysicalConnections.NoteSilent(physical);
        }

        SecondOpinion.Seek(silence);
    }

    /// <summary>Before it comes to rest, so that whoever takes it next looks closer.</summary>
    private void AskIfUnheard(LeaseSlot slot)
    {
        if (slot.IsUnheard)
        {
            parts.Physicals.ResumeProbes();
        }
    }

    /// <summary>Waits for a close that never fails, but only so long.</summary>
    private ValueTask SettleAsync(LeaseSlot slot, ClosingLease lease, Task<CloseOutcome> closing, bool blocking)
    {
        if (!closing.IsCompleted)
        {
            slot.NoteAsked();
        }

        if (!blocking)
        {
            return SettleAsync(slot, lease, closing);
        }

        Settle(slot, lease, closing);
        return ValueTask.CompletedTask;
    }

    private async ValueTask SettleAsync(LeaseSlot slot, ClosingLease lease, Task<CloseOutcome> closing)
    {
        try
        {
            Conclude(slot, await parts.Clock.WaitAsync(closing, PoolSettings.ReturnPatience, CancellationToken.None).ConfigureAwait(false));
        }
        catch (TimeoutException)
        {
            _ = QuarantineAsync(slot, lease, closing);
        }
    }

    /// <summary>The same for a caller who blocks: in real time, and without a timer, which would need a thread of the pool.</summary>
    private void Settle(LeaseSlot slot, ClosingLease lease, Task<CloseOutcome> closing)
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
                _ = QuarantineAsync(slot, lease, closing);
            }
        }
    }

    private async Task QuarantineAsync(LeaseSlot slot, ClosingLease lease, Task<CloseOutcome> closing)
    {
        // From here on it counts as quarantined.
        slot.NoteAnswered();
        Conclude(slot, await _quarantine.HoldAsync(slot, lease, closing).ConfigureAwait(false));
    }

    private void Conclude(LeaseSlot slot, CloseOutcome outcome)
    {
        slot.NoteAnswered();

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
                Log.Broken(parts.Logger, parts.Settings.Name, FatalErrors.Describe(within: parts.Clock.Since(slot.RentedAt) + _justBefore));
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
            CountEnd(outcome);
            resting.Vacate(slot.Place);
        }
    }

    private void CountEnd(CloseOutcome outcome)
    {
        if (outcome == CloseOutcome.GoneFromRest)
        {
            parts.Physicals.CountMissing();
        }
        else
        {
            parts.Physicals.CountClosed();
        }
    }

    private void NoteProbeFailed(LeaseSlot slot)
    {
        parts.Recorder.Record(FlightEventKind.ProbeFailed, slot.Place);
        Log.ProbeFailed(parts.Logger, parts.Settings.Name);
    }
}
