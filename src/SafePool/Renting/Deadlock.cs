using SafePool.Diagnostics;
using SafePool.Leases;
using SafePool.Time;

namespace SafePool.Renting;

/// <summary>Finds the deadlock in which every lease is held by a flow that waits for another one.</summary>
/// <remarks>
/// <para>
/// It cannot be proven: who rented a lease need not be who returns it. A flow may have given it to a task that has not come to it yet, and nothing tells of a copy. So what counts is that nothing moves: every lease was
/// rented by a flow that waits, and for some time no lease came or went, none was asked for its connection or seen at work, and on none of their connections a byte was read or written.
/// </para>
/// <para>
/// How long depends on how it looks. Flows that hold one lease each and wait for a second are what a method looks like that calls another one which rents: from one look to the next. A flow that holds several may be a loop that rents
/// for its workers, and those may call somebody else before they come to their lease: a good part of the budget.
/// </para>
/// <para>Thread-safety: two ticks may overlap, so a look holds a lock. What it reads without one (a lease, a rent) may change meanwhile: then the next look finds that something has moved.</para>
/// </remarks>
internal sealed class Deadlock(PoolParts parts)
{
    // For a second look.
    private static readonly TimeSpan _oneLook = MaintenanceLoop.Period;

    // A worker that was given a lease may call somebody else first. Who has less time than the shorter of these waits it out.
    private static readonly TimeSpan _shortest = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan _longest = TimeSpan.FromSeconds(10);

    private readonly Lock _looking = new();
    private List<(long LeaseId, long UsedAt, long? Progress)> _seen = [];
    private List<(long LeaseId, long UsedAt, long? Progress)> _before = [];
    private bool _isClosed;
    private long _stillSince;

    /// <summary>One look. The rent that is to give way, the last that came; null while there is no deadlock, or it may be none.</summary>
    public (PendingRent Rent, RentFlow Flow)? Look()
    {
        lock (_looking)
        {
            var nested = Nested();
            if (!IsCircle(nested))
            {
                _isClosed = false;
                return null;
            }

            if (!_isClosed || !_seen.SequenceEqual(_before))
            {
                (_isClosed, _stillSince) = (true, parts.Clock.Exact);
                (_before, _seen) = (_seen, _before);
                return null;
            }

            var mayBeWorkers = nested.Exists(static waiter => waiter.Flow.HeldLeases().Skip(1).Any());
            foreach (var last in nested)
            {
                if (parts.Clock.RunningSince(Math.Max(_stillSince, last.Flow.BegunAt)) >= (mayBeWorkers ? Stretch(last.Rent.Patience) : _oneLook))
                {
                    _isClosed = false;
                    return last;
                }
            }

            return null;
        }
    }

    private static TimeSpan Stretch(TimeSpan budget)
    {
        var half = budget == Timeout.InfiniteTimeSpan ? _longest : budget / 2;
        return half > _longest ? _longest : half < _shortest ? _shortest : half;
    }

    /// <summary>Those who wait while their flow holds a lease, the last that came first.</summary>
    private List<(PendingRent Rent, RentFlow Flow)> Nested()
    {
        var nested = new List<(PendingRent, RentFlow)>();
        foreach (var waiter in parts.Gate.WaitingUntil(long.MaxValue))
        {
            if (waiter is PendingRent { Flow: { } flow } rent && flow.NearestHolding() is not null)
            {
                nested.Add((rent, flow));
            }
        }

        nested.Reverse();
        return nested;
    }

    /// <summary>Whether every lease was rented by a flow that waits for another one, and nothing runs on it; and what could move.</summary>
    private bool IsCircle(List<(PendingRent Rent, RentFlow Flow)> nested)
    {
        _seen.Clear();
        if (nested.Count == 0 || parts.Gate.Read() is not { IsFull: true, Quarantined: 0, Leased: var held })
        {
            return false;
        }

        var waiting = nested.SelectMany(static waiter => waiter.Flow.HeldLeases()).ToHashSet();
        foreach (var slot in parts.Ledger.Slots)
        {
            if (slot.LeaseId is var id and not 0)
            {
                if (!waiting.Contains(id) || parts.Holders.Describe(slot, id).IsBusy)
                {
                    return false;
                }

                _seen.Add((id, slot.UsedAt, slot.Connection is { } connection ? parts.Source.ProgressOf(connection) : null));
                held--;
            }
        }

        // What is held without a lease comes back by itself.
        return held == 0;
    }
}
