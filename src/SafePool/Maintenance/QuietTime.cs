namespace SafePool.Maintenance;

/// <summary>Notices that nobody has rented for a while: then the next rents make sure that what they get is alive (<see cref="ConnectionPoolOptions.ProbeAfterQuiet"/>).</summary>
internal sealed class QuietTime(PoolParts parts)
{
    private long _rents;
    private long _since = parts.Clock.Exact;
    private bool _isNoted;

    /// <summary>One look; called by the maintenance loop.</summary>
    public void Look()
    {
        if (parts.Settings.ProbeAfterQuiet == Timeout.InfiniteTimeSpan)
        {
            return;
        }

        if (parts.Ledger.TotalRents is var rents && rents != _rents)
        {
            (_rents, _since, _isNoted) = (rents, parts.Clock.Exact, false);
        }
        else if (!_isNoted && parts.Clock.Since(_since) >= parts.Settings.ProbeAfterQuiet && parts.Gate.Idle is > 0 and var idle)
        {
            // As many as there are sockets that may have died: a burst must not meet them all.
            parts.Physicals.RequireProbes(idle);
            _isNoted = true;
        }
    }
}
