using SafePool.Driver;
using SafePool.Driver.Control;
using SafePool.Driver.Hosts;
using SafePool.Leases;
using SafePool.Logging;
using SafePool.Options;

namespace SafePool.Lifecycle;

/// <summary>The time between a return that could not close its connection and the moment in which its place is free again.</summary>
/// <remarks>
/// <para>
/// The server is asked to end the session, again and again: the first time it may not be reached, or another server may answer under its name. What then ends the close ends the quarantine.
/// </para>
/// <para>
/// After <see cref="PoolSettings.QuarantineBound"/> it ends in any case: the connection is written off, counted as closed, and its place is vacant. Its close goes on by itself, seldom looked at, and settles nothing. Should the
/// connection come to rest after all, it lies there under no place and is expired: whoever meets it counts it again, and retires it.
/// </para>
/// </remarks>
internal sealed class Quarantine(PoolParts parts)
{
    private static readonly TimeSpan _firstPause = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan _longestPause = TimeSpan.FromSeconds(5);

    /// <summary>Holds the place until the connection is gone, at rest or written off, and says which. The place is then held as before.</summary>
    public async Task<CloseOutcome> HoldAsync(LeaseSlot slot, ClosingLease lease, Task<CloseOutcome> closing)
    {
        parts.Gate.Quarantine(slot.Place);
        parts.Recorder.Record(FlightEventKind.Quarantined, slot.Place, site: slot.Site);
        Log.Quarantined(parts.Logger, parts.Settings.Name, lease.Site.ToString(), PoolSettings.ReturnPatience.TotalSeconds, PoolSettings.QuarantineBound.TotalSeconds);
        var physical = parts.Source.Identify(lease.Connection);
        if (physical is not null)
        {
            // Should it come to rest after all, its end may still be on its way.
            parts.Physicals.Expire(physical);
        }

        var begun = parts.Clock.Exact;
        var answer = await EndSessionAsync(lease, closing, begun).ConfigureAwait(false);
        lease.IsWrittenOff = !closing.IsCompleted;
        if (lease.IsWrittenOff && physical?.Driver is { } driver)
        {
            // Npgsql goes on counting it, beside whatever has its place from now on.
            driver.NoteLost(1);
            _ = closing.ContinueWith(
                static (_, lost) => ((DriverPool)lost!).NoteLost(-1), driver, CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
        }

        parts.Gate.Release(slot.Place);
        parts.Recorder.Record(FlightEventKind.Released, slot.Place);
        if (!lease.IsWrittenOff)
        {
            Log.QuarantineEnded(parts.Logger, parts.Settings.Name);
            return await closing.ConfigureAwait(false);
        }

        var (session, server) = (physical?.Identity.ProcessId ?? 0, physical?.Host?.ToString() ?? "");
        Log.WrittenOff(parts.Logger, parts.Settings.Name, lease.Site.ToString(), parts.Clock.Since(begun).TotalSeconds, answer.Words(), session, server);
        return CloseOutcome.Gone;
    }

    /// <summary>Asks for the end of a session until its connection is closed, or for long enough.</summary>
    /// <returns>What the server answered last.</returns>
    private async Task<SignalOutcome> EndSessionAsync(ClosingLease lease, Task closing, long begun)
    {
        var answer = SignalOutcome.NoAnswer;
        for (var pause = _firstPause; ; pause = pause * 2 < _longestPause ? pause * 2 : _longestPause)
        {
            var asking = parts.Source.TerminateAsync(lease.Connection);
            await Task.WhenAny(asking, closing).ConfigureAwait(false);
            if (closing.IsCompleted)
            {
                return answer;
            }

            answer = await asking.ConfigureAwait(false);
            var rest = PoolSettings.QuarantineBound - parts.Clock.Since(begun);
            var isFinal = answer is SignalOutcome.SessionGone or SignalOutcome.NotProvable;
            if (rest <= TimeSpan.Zero || await IsOverAsync(closing, isFinal || rest < pause ? rest : Jittered(pause)).ConfigureAwait(false))
            {
                return answer;
            }

            if (parts.Clock.Since(begun) >= PoolSettings.QuarantineBound)
            {
                return answer;
            }
        }
    }

    private async Task<bool> IsOverAsync(Task closing, TimeSpan pause)
    {
        try
        {
            await closing.WaitAsync(pause, parts.Time).ConfigureAwait(false);
            return true;
        }
        catch (TimeoutException)
        {
            return false;
        }
    }

    private static TimeSpan Jittered(TimeSpan pause)
#pragma warning disable CA5394 // Spreads attempts; nothing is secret about it.
        => pause * (0.75 + (Random.Shared.NextDouble() / 4));
#pragma warning restore CA5394
}
