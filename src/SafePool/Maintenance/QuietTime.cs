using SafePool.Time;

namespace SafePool.Maintenance;

/// <summary>Notices that nobody has rented or returned anything for a while: then the next rents make sure that what they get is alive (<see cref="ConnectionPoolOptions.ProbeAfterQuiet"/>).</summary>
/// <remarks>
/// Who notices is the maintenance loop, at a tick; or, when that slept or the whole process stood still, the first rent that finds the clock stale.
/// </remarks>
internal sealed class QuietTime(PoolParts parts)
{
    private long _moves;
    private long _since = parts.Clock.Exact;
    private long _lookedAt = parts.Clock.Exact;
    private long _notedAt;
    private bool _isNoted;

    /// <summary>Whether nothing is left to be noticed before somebody rents.</summary>
    public bool IsSettled => _isNoted || parts.Settings.ProbeAfterQuiet == Timeout.InfiniteTimeSpan || parts.Gate.Idle == 0;

    /// <summary>One look; called by the maintenance loop.</summary>
    public void Look()
    {
        if (parts.Settings.ProbeAfterQuiet == Timeout.InfiniteTimeSpan)
        {
            return;
        }

        var now = parts.Clock.Exact;
        var leases = parts.Ledger.Leases;

        // Rents and returns.
        if ((2 * parts.Ledger.TotalRents) - leases is var moves && moves != _moves)
        {
            // Since the last look: the last one may have been right after that.
            (_moves, _since, _isNoted) = (moves, _lookedAt, false);
        }
        else if (parts.Clock.Since(_isNoted ? _notedAt : _since) >= parts.Settings.ProbeAfterQuiet && (leases > 0 || parts.Gate.Idle > 0))
        {
            // All of them, what is leased too: nobody notes what a lease has heard. And again while it lasts: what the sweep has heard since may be long ago when it ends.
            parts.Physicals.RequireProbes();
            (_notedAt, _isNoted) = (now, true);
        }

        _lookedAt = now;
    }

    /// <summary>Sets the clock right; called at every tick, and by a rent that finds it stale. When it had stood still for long, connections may have died unseen.</summary>
    public void CatchUp()
    {
        var gap = parts.Clock.Since(parts.Clock.Coarse);
        if (gap > 2 * MaintenanceLoop.Period && parts.Settings.ProbeAfterQuiet != Timeout.InfiniteTimeSpan && gap >= parts.Settings.ProbeAfterQuiet)
        {
            // Before the clock is right again: who finds it so must find these due.
            parts.Physicals.RequireProbes();
        }

        parts.Clock.Refresh();
        parts.Loop.Wake();
    }
}
