using SafePool.Maintenance;

namespace SafePool.Leases;

/// <summary>The slots of a pool, one for each place.</summary>
internal sealed class LeaseLedger
{
    private readonly LeaseSlot[] _slots;
    private readonly PoolClock _clock;

    public LeaseLedger(ConnectionPool pool, int places, PoolClock clock, LeaseWatch watch)
    {
        _clock = clock;
        _slots = new LeaseSlot[places];
        for (var place = 0; place < places; place++)
        {
            _slots[place] = new LeaseSlot(pool, place, places, clock, watch);
        }
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

    public LeaseSlot this[int place] => _slots[place];

    /// <summary>Whether the lease on a slot has been held for longer than it may.</summary>
    public bool IsOverdue(LeaseSlot slot, TimeSpan threshold)
        => _clock.Since(slot.RentedAt) >= (slot.Options?.ExpectedHold ?? threshold);
}
