using SafePool.Driver;

namespace SafePool.Maintenance;

/// <summary>Tells which idle connections have not been heard of for <see cref="ConnectionPoolOptions.ProbeAfterIdle"/>.</summary>
/// <remarks>
/// Rents leave no note on a connection. But Npgsql hands out the one that has rested longest: once there were as many rents as connections are idle, each of
/// them was touched. Thread-safety: none; the sweep is its only caller.
/// </remarks>
internal sealed class SignsOfLife(PoolParts parts)
{
    private static readonly TimeSpan _again = TimeSpan.FromSeconds(1);

    private long _nextRound = parts.Clock.After(parts.Clock.Exact, parts.Settings.ProbeAfterIdle);
    private long _rents;
    private long _oldest = long.MaxValue;

    /// <summary>When the next round must be made if nobody rents, as a timestamp of the pool's clock.</summary>
    public long NextRound => _nextRound;

    /// <summary>Whether a round must be made for their sake; asked at every tick.</summary>
    public bool AreDue(int idle)
    {
        var rents = parts.Ledger.TotalRents;
        if (rents - _rents >= Math.Max(1, idle))
        {
            _rents = rents;
            _nextRound = parts.Clock.After(parts.Clock.Exact, parts.Settings.ProbeAfterIdle);
        }

        return parts.Clock.Exact >= _nextRound;
    }

    /// <summary>Whether this one is to be asked now.</summary>
    public bool IsDue(PhysicalConnection physical)
        => parts.Clock.Exact >= _nextRound && parts.Clock.Since(physical.SeenAt) >= parts.Settings.ProbeAfterIdle;

    /// <summary>This one is at rest again; it was asked, or need not be yet.</summary>
    public void Note(PhysicalConnection physical) => _oldest = Math.Min(_oldest, physical.SeenAt);

    /// <summary>A round has ended.</summary>
    /// <param name="isWhole">It has met all.</param>
    public void RoundEnded(bool isWhole)
    {
        var now = parts.Clock.Exact;
        if (now >= _nextRound)
        {
            var next = isWhole && _oldest != long.MaxValue ? parts.Clock.After(_oldest, parts.Settings.ProbeAfterIdle) : long.MinValue;
            _nextRound = Math.Max(next, parts.Clock.After(now, _again));
        }

        _oldest = long.MaxValue;
    }
}
