using SafePool.Time;

namespace SafePool.Leases;

/// <summary>The slots of a pool, one for each place. It only grows.</summary>
internal sealed class LeaseLedger
{
    private readonly ConnectionPool _pool;
    private readonly PoolClock _clock;
    private readonly LeaseWatch _watch;
    private volatile LeaseSlot[] _slots = [];

    public LeaseLedger(ConnectionPool pool, int places, PoolClock clock, LeaseWatch watch)
    {
        (_pool, _clock, _watch) = (pool, clock, watch);
        Grow(places);
    }

    public ReadOnlySpan<LeaseSlot> Slots => _slots;

    public long TotalRents
    {
        get
        {
            var rents = 0L;
            foreach (var slot in _slots)
            {
                rents += slot.Rents;
            }

            return rents;
        }
    }

    /// <summary>How many leases are out; what the pool itself holds is none.</summary>
    public int Leases
    {
        get
        {
            var leases = 0;
            foreach (var slot in _slots)
            {
                leases += slot.LeaseId == 0 ? 0 : 1;
            }

            return leases;
        }
    }

    public LeaseSlot this[int place] => _slots[place];

    /// <summary>Makes slots for so many places, before the gate has them. One caller at a time.</summary>
    public void Grow(int places)
    {
        var slots = _slots;
        if (places > slots.Length)
        {
            _slots = [.. slots, .. Enumerable.Range(slots.Length, places - slots.Length).Select(place => new LeaseSlot(_pool, place, _clock, _watch))];
        }
    }

    /// <summary>
    /// Whether the lease on a slot has been held for longer than it may. Time in which the process stood still is nobody's fault.
    /// </summary>
    public bool IsOverdue(LeaseSlot slot, TimeSpan threshold)
    {
        var limit = slot.Options?.ExpectedHold ?? threshold;
        return _clock.Since(slot.RentedAt) >= limit && _clock.RunningSince(slot.RentedAt) >= limit;
    }
}
