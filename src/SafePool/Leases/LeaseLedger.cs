using System.Collections.Immutable;
using Npgsql;
using SafePool.Maintenance;

namespace SafePool.Leases;

/// <summary>Who holds what, since when, rented where.</summary>
internal sealed class LeaseLedger
{
    private readonly LeaseSlot[] _slots;
    private readonly PoolClock _clock;

    public LeaseLedger(ConnectionPool pool, int places, PoolClock clock)
    {
        _clock = clock;
        _slots = new LeaseSlot[places];
        for (var place = 0; place < places; place++)
        {
            _slots[place] = new LeaseSlot(pool, place, places);
        }
    }

    public LeaseSlot this[int place] => _slots[place];

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

    /// <summary>The leases that are out, the longest held first.</summary>
    public ImmutableArray<LeaseHolder> Holders()
    {
        var holders = new List<LeaseHolder>();
        foreach (var slot in _slots)
        {
            if (Describe(slot) is { } holder)
            {
                holders.Add(holder);
            }
        }

        return [.. holders.OrderByDescending(holder => holder.Held)];
    }

    /// <summary>The lease on a slot; null when there is none, or when it ended or changed while it was read.</summary>
    public LeaseHolder? Describe(LeaseSlot slot)
    {
        var id = slot.LeaseId;
        if (id == 0)
        {
            return null;
        }

        var holder = new LeaseHolder
        {
            LeaseId = id,
            Member = slot.Site.Member,
            File = slot.Site.File,
            Line = slot.Site.Line,
            Label = slot.Options?.Label,
            Held = _clock.Since(slot.RentedAt),
            BackendProcessId = ProcessIdOf(slot.Connection),
        };
        return slot.LeaseId == id ? holder : null;
    }

    /// <summary>Whether the lease on a slot has been held for longer than it may.</summary>
    public bool IsOverdue(LeaseSlot slot, TimeSpan threshold)
        => _clock.Since(slot.RentedAt) >= (slot.Options?.ExpectedHold ?? threshold);

    private static int? ProcessIdOf(NpgsqlConnection? connection)
    {
        try
        {
            return connection?.ProcessID;
        }
        catch (Exception error) when (error is InvalidOperationException or NullReferenceException)
        {
            // Closed, broken or on its way there: read from another flow, which Npgsql does not expect.
            return null;
        }
    }
}
