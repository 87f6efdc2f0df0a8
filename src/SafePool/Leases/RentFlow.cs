using System.Diagnostics;
using SafePool.Reports;

namespace SafePool.Leases;

/// <summary>One rent as a link of the flow that made it: what the flow held or waited for before, and what became of this one.</summary>
internal sealed class RentFlow(RentFlow? outer, RentSite site, Activity? trace)
{
    private RentFlow? _outer = outer;
    private LeaseSlot? _slot;
    private long _leaseId;
    private volatile bool _isOver;

    /// <summary>The rent within which this one was made; of those that are over, none is kept.</summary>
    public RentFlow? Outer
    {
        get
        {
            // Flows may share this link and race here: all skip the same, for what is over stays so.
            var outer = _outer;
            while (outer is { IsAlive: false })
            {
                outer = outer._outer;
            }

            return _outer = outer;
        }
    }

    public RentSite Site { get; } = site;

    /// <summary>The activity in which it was made, where tracing is on: it tells what a flow cannot, when the rent was made in a helper whose context ended with it.</summary>
    public Activity? Trace { get; } = trace;

    /// <summary>When it was made, by the exact clock.</summary>
    public long BegunAt { get; set; }

    /// <summary>It waits, or its lease is out.</summary>
    public bool IsAlive => !_isOver && (_slot is null || IsOut);

    public bool IsOut => _slot is { } slot && slot.LeaseId == _leaseId;

    public void Issued(LeaseSlot slot, long leaseId)
    {
        _leaseId = leaseId;
        Volatile.Write(ref _slot, slot);
    }

    /// <summary>It got no lease.</summary>
    public void Ended() => _isOver = true;

    /// <summary>Forgets every outer rent that is over, however far out: otherwise a flow that always holds one of its leases would make a chain without end.</summary>
    public void Shorten()
    {
        for (var flow = Outer; flow is not null; flow = flow.Outer)
        {
        }
    }

    /// <summary>Whether this rent was made while the flow held a lease, directly or further out.</summary>
    public RentFlow? NearestHolding()
    {
        for (var flow = Outer; flow is not null; flow = flow.Outer)
        {
            if (flow.IsOut)
            {
                return flow;
            }
        }

        return null;
    }

    /// <summary>The leases that the flow held when it made this rent, and still holds.</summary>
    public IEnumerable<long> HeldLeases()
    {
        for (var flow = Outer; flow is not null; flow = flow.Outer)
        {
            if (flow.IsOut)
            {
                yield return flow._leaseId;
            }
        }
    }
}
