using Microsoft.Extensions.Logging;
using SafePool.Diagnostics;
using SafePool.Leaks;
using SafePool.Lifecycle;
using SafePool.Logging;
using SafePool.Options;
using SafePool.Time;

namespace SafePool.Maintenance;

/// <summary>What the pool does for itself at every tick, one step after the other, never two ticks at once.</summary>
/// <remarks>
/// What talks to the server about idle connections runs beside the ticks (<see cref="IdleSweep"/>): a server that does not answer must not keep the pool from looking after leases.
/// </remarks>
internal sealed class Upkeep(
    PoolParts parts,
    RestingPlaces resting,
    ConnectionOpener opener,
    ConnectionReturner returner,
    LeakDetector detector,
    DroppedLeases dropped,
    ExhaustionEpisode episode,
    ServerWatch watch,
    QuietTime quiet)
{
    // After this long in the queue, or a quarter of its budget, a waiter is worth a question to the server.
    private static readonly TimeSpan _longWait = TimeSpan.FromSeconds(1);

    private static readonly TimeSpan _longestSleep = TimeSpan.FromSeconds(30);

    private static readonly TimeSpan _longestFillPause = TimeSpan.FromSeconds(30);

    private readonly IdleRetirement _retirement = new(parts, returner);
    private readonly IdleSweep _sweep = new(parts, resting, opener, returner, watch);
    private readonly RoleLook _roles = new(parts, resting, opener, returner);
    private readonly HostBalance _balance = new(parts, resting, opener, returner);
    private readonly LowWaterMark _spare = new(parts.Clock);
    private readonly UnheardConnections _unheard = new(parts);
    private int _isRunning;
    private long _nextFill = long.MinValue;
    private TimeSpan _fillPause = MaintenanceLoop.Period;

    /// <summary>Runs one tick, unless the previous one is still at it.</summary>
    public async Task RunAsync()
    {
        if (Interlocked.Exchange(ref _isRunning, 1) == 1)
        {
            return;
        }

        try
        {
            parts.Exhaustion.Look();
            detector.Scan();
            dropped.Check();
            parts.Demand.Look();
            WatchQueue();
            quiet.Look();
            _unheard.Look();
            parts.Physicals.Refresh(parts.Gate.HasSurplus);
            await ShrinkAsync().ConfigureAwait(false);
            await RetireSurplusAsync().ConfigureAwait(false);
            Fill();

            _roles.Begin();
            _balance.Begin();

            // Last: what it holds for a moment is idle all the same.
            _sweep.Begin();
            SleepIfUnused();
        }
        catch (Exception error)
        {
            Log.MaintenanceFailed(parts.Logger, parts.Settings.Name, error);
        }
        finally
        {
            Volatile.Write(ref _isRunning, 0);
        }
    }

    private void WatchQueue()
    {
        var counts = parts.Gate.Read();
        episode.Check(counts.Waiting);
        if (!parts.Breaker.IsWell)
        {
            opener.RideThrough();
        }

        if (counts is not { Waiting: > 0, Idle: 0 })
        {
            return;
        }

        // What held opens back (a full server) may have passed.
        opener.Pump();
        if (parts.Inspector.IsEnabled && HasWaitedLong(parts.Gate.EarliestDeadline()))
        {
            // So that the answer is there before the first caller's time is up.
            parts.Inspector.Ask();
        }
    }

    /// <summary>By what is left of a budget; a caller who brought a shorter one of his own counts at once.</summary>
    private bool HasWaitedLong(long? deadline)
    {
        var budget = parts.Settings.AcquireTimeout;
        var quarter = budget / 4;
        return deadline is long.MaxValue
            || (deadline is { } end && parts.Clock.After(parts.Clock.Exact, budget - (quarter < _longWait ? quarter : _longWait)) >= end);
    }

    /// <summary>Retires what is idle and too many for a pool that was made smaller. What is leased goes when it comes back.</summary>
    private async Task ShrinkAsync()
    {
        if (!parts.Gate.HasSurplus)
        {
            return;
        }

        await watch.RelieveAsync().ConfigureAwait(false);
        var retired = 0;

        // Each once: one that cannot be ended is idle again.
        for (var rest = parts.Gate.Idle; rest > 0 && parts.Gate.HasSurplus && resting.TryTakeIdle(out var slot); rest--)
        {
            if (parts.Gate.TryClaimSurplus(slot.Place))
            {
                await _retirement.RetireAsync(slot).ConfigureAwait(false);
                retired++;
            }
            else
            {
                resting.RestAndHandOn(slot);
            }
        }

        _retirement.Note(retired, "more than MaxSize");
    }

    /// <summary>Retires what was idle all the time for <see cref="PoolSettings.IdleTimeout"/>, and what an outage has left that nobody uses, down to the minimum size.</summary>
    private async Task RetireSurplusAsync()
    {
        var counts = parts.Gate.Read();
        var unwanted = parts.Settings.IdleTimeout == Timeout.InfiniteTimeSpan ? 0 : _spare.Observe(counts.Idle, parts.Settings.IdleTimeout);
        var surplus = Math.Min(Math.Max(unwanted, parts.Demand.TakeUnused()), counts.Existing - parts.Settings.MinSize);
        if (surplus <= 0)
        {
            return;
        }

        await watch.RelieveAsync().ConfigureAwait(false);
        var retired = 0;
        for (; retired < surplus && resting.TryTakeIdle(out var slot); retired++)
        {
            await _retirement.RetireAsync(slot).ConfigureAwait(false);
        }

        _spare.Restart();
        _retirement.Note(retired, "not needed");
    }

    /// <summary>A pool that nobody uses ticks no more until something is due, or somebody rents.</summary>
    private void SleepIfUnused()
    {
        if (IsUnused() && quiet.IsSettled)
        {
            var due = Math.Min(Math.Min(_sweep.NextRound, parts.Physicals.NextExpiry), NextSurplus());
            var span = due == long.MaxValue || parts.Clock.Until(due) is var until && until > _longestSleep ? _longestSleep : parts.Clock.Until(due);
            if (span > MaintenanceLoop.Period)
            {
                parts.Loop.Sleep(span);

                // Who came in this moment found the clock still right.
                if (!IsUnused() || !quiet.IsSettled)
                {
                    quiet.CatchUp();
                }
            }
        }
    }

    private bool IsUnused()
    {
        var counts = parts.Gate.Read();
        return counts is { Leased: 0, Waiting: 0, Opening: 0, Quarantined: 0 }
            && !parts.Breaker.IsFailing
            && !parts.Demand.IsKeeping
            && !parts.Gate.HasSurplus
            && !parts.Physicals.HasDue
            && _sweep.IsSettled
            && counts.Connections >= parts.Settings.MinSize;
    }

    private long NextSurplus()
    {
        var idle = parts.Gate.Idle;
        return parts.Settings.IdleTimeout == Timeout.InfiniteTimeSpan || idle <= parts.Settings.MinSize
            ? long.MaxValue
            : _spare.NextChange(idle, parts.Settings.IdleTimeout);
    }

    private void Fill()
    {
        if (parts.Clock.Exact < _nextFill)
        {
            return;
        }

        while (opener.Fill(parts.Settings.MinSize) is { } open)
        {
            _ = WatchFillAsync(open);
        }
    }

    private async Task WatchFillAsync(Task<Exception?> open)
    {
        if (await open.ConfigureAwait(false) is not { } error)
        {
            _fillPause = MaintenanceLoop.Period;

            // It may have found one that had just come to rest, and added nothing.
            Fill();
            return;
        }

        if (parts.Gate.IsClosed || parts.Breaker.IsFailing)
        {
            // The breaker sets the pauses then, and has said so.
            return;
        }

        var pause = _fillPause;
        _nextFill = parts.Clock.After(parts.Clock.Exact, pause);
        _fillPause = pause * 2 < _longestFillPause ? pause * 2 : _longestFillPause;
        Log.FillFailed(parts.Logger, parts.Settings.Name, parts.Settings.MinSize, pause.TotalSeconds, error);
    }
}
