using SafePool.Leases;
using SafePool.Telemetry;
using SafePool.Time;

namespace SafePool.Lifecycle;

/// <summary>Whether anybody has wanted a connection of late, and what was kept for him after an outage.</summary>
/// <remarks>
/// Seen at the ticks, from counts that are kept anyway: a rent pays nothing for it. <see cref="Look"/> and <see cref="TakeUnused"/> belong to the maintenance loop, everything else to anybody; a reading may be a tick old.
/// </remarks>
internal sealed class RecentDemand(LeaseLedger ledger, RentTotals totals, PoolClock clock)
{
    private const long Nothing = long.MinValue;

    private static readonly TimeSpan _moment = TimeSpan.FromSeconds(2);

    private long _wanted;
    private long _wantedAt = clock.Exact;
    private long _keptAt = Nothing;
    private long _rentsThen;

    /// <summary>Whether somebody has rented, waited or been refused within two seconds.</summary>
    public bool IsRecent => clock.Since(Volatile.Read(ref _wantedAt)) <= _moment && Volatile.Read(ref _wanted) > 0;

    /// <summary>Whether something is kept for a moment.</summary>
    public bool IsKeeping => Volatile.Read(ref _keptAt) != Nothing;

    /// <summary>One look; called by the maintenance loop.</summary>
    public void Look()
    {
        var wanted = ledger.TotalRents + totals.Waits + totals.Timeouts + totals.Rejected;
        if (wanted != _wanted)
        {
            Volatile.Write(ref _wantedAt, clock.Exact);
            Volatile.Write(ref _wanted, wanted);
        }
    }

    /// <summary>A connection that nobody waits for is kept for two seconds: who was refused a moment ago may come again.</summary>
    public void KeepForNow()
    {
        Volatile.Write(ref _rentsThen, ledger.TotalRents);
        Volatile.Write(ref _keptAt, clock.Exact);
    }

    /// <summary>How many were kept and not used within that time: none or one.</summary>
    public int TakeUnused()
    {
        if (Volatile.Read(ref _keptAt) is var at && at == Nothing)
        {
            return 0;
        }

        var isUsed = ledger.TotalRents != Volatile.Read(ref _rentsThen);
        if (!isUsed && clock.Since(at) <= _moment)
        {
            return 0;
        }

        Volatile.Write(ref _keptAt, Nothing);
        return isUsed ? 0 : 1;
    }
}
