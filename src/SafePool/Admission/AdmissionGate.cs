using System.Diagnostics;
using SafePool.Lifecycle;

namespace SafePool.Admission;

/// <summary>Decides who may use which of the pool's places, and when one may be opened. The whole of the pool's arithmetic.</summary>
/// <remarks>
/// <para>
/// There are N places, 0 … N-1: as many as the pool was ever large. At any moment each is in exactly one state:
/// <c>idle</c> (an open connection at rest), <c>held</c> (a lease, or the pool itself while it opens up, closes or retires it),
/// <c>opening</c>, <c>vacant</c> (no connection) or <c>quarantined</c> (a connection that cannot be closed yet).
/// </para>
/// <para>Invariants:</para>
/// <list type="number">
/// <item>INV-1: idle + held + opening + vacant + quarantined = N. <c>held</c> is not counted but follows from the others, so it cannot drift.</item>
/// <item>INV-2: while anybody waits nothing is idle, and the idle stack is shut: what comes back meets the queue, not a newcomer. So it is in a pause.</item>
/// <item>INV-3: a waiter leaves the queue once, under the lock; who unlinked it completes it, after the lock.</item>
/// <item>INV-4: opening never exceeds the limit of concurrent opens, and demand starts one only while waiters outnumber openings.</item>
/// <item>INV-5: no open begins beyond <see cref="Limit"/>. What a smaller size leaves over is claimed once for each connection too many, and vacated by its claimant; where that fails, the claim ends with its place idle or handed over.</item>
/// <item>INV-6: at most one idle place is watching: it counts as idle, but lies on no stack. Relieved, it is held, and serves one waiter soon.</item>
/// </list>
/// <para>
/// Idle ↔ held is lock-free (<see cref="IdleStack"/>); everything else is rare and happens under <c>_gate</c>. No driver, no user code
/// and no clock is called in here.
/// </para>
/// </remarks>
internal sealed partial class AdmissionGate
{
    private readonly Lock _gate = new();
    private readonly IdleStack _idle;
    private readonly WaiterQueue _queue = new();
    private int[] _vacantPlaces;
    private int _maxWaiters;
    private int _maxConcurrentOpens;
    private readonly TaskCompletionSource _allBack = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly PlaceAudit _audit;
    private int _vacant;
    private int _opening;
    private int _blockingOpens;
    private int _quarantined;
    private bool _closed;

    public AdmissionGate(int size, int maxWaiters, int maxConcurrentOpens)
    {
        _size = size;
        _maxWaiters = maxWaiters;
        _maxConcurrentOpens = maxConcurrentOpens;
        _idle = new IdleStack(MostPlaces);
        _audit = new PlaceAudit(MostPlaces);
        _vacantPlaces = [];
        AddPlacesLocked(size);
    }

    public int Places { get; private set; }

    /// <summary>How many places are idle, the one that watches included.</summary>
    public int Idle => _idle.Count + WatchingCount;

    /// <summary>Tells, compared with an earlier reading, how many places have come to rest in between. Costs rents and returns nothing.</summary>
    public IdleMoves IdleMoves => _idle.Moves;

    public bool IsClosed => Volatile.Read(ref _closed);

    /// <summary>Whether one more may be opened, but for a pause. A few reads; whoever makes room must look for those who began to wait meanwhile.</summary>
    public bool HasRoom => Places - Volatile.Read(ref _vacant) < Limit;

    /// <summary>Completes when the gate is closed and nothing is held or opening any more.</summary>
    public Task AllBack => _allBack.Task;

    /// <summary>Takes an idle place: idle → held. The way of nearly every rent.</summary>
    public bool TryTake(out int place)
    {
        if (!_idle.TryPop(out place))
        {
            return false;
        }

        _audit.Move(place, PlaceState.Idle, PlaceState.Held);
        return true;
    }

    /// <summary>Puts a place whose connection is at rest back: held → idle. False when somebody waits for it, or the gate is closed.</summary>
    public bool TryGiveBack(int place)
    {
        // Audited before the push: afterwards the place may be somebody else's already.
        _audit.Move(place, PlaceState.Held, PlaceState.Idle);
        if (_idle.TryPush(place))
        {
            return true;
        }

        _audit.Move(place, PlaceState.Idle, PlaceState.Held);
        return false;
    }

    /// <summary>Asks for a place: grants an idle one, or queues <paramref name="waiter"/>, or says why not.</summary>
    /// <param name="waiter">Stands in the queue when the outcome is <see cref="AdmissionOutcome.Queued"/>; untouched otherwise.</param>
    /// <param name="returning">The request was admitted before and its connection was gone: it goes to the front and is never rejected.</param>
    public AdmissionResult Enter(Waiter waiter, bool returning)
    {
        lock (_gate)
        {
            AssertInvariants();
            if (_closed)
            {
                return new AdmissionResult(AdmissionOutcome.Closed);
            }

            do
            {
                if (TryTake(out var place))
                {
                    return new AdmissionResult(AdmissionOutcome.Granted, place);
                }

                // Those for whom there is room to open do not count against the limit: they wait for the server, not for a lease.
                if (!returning && _queue.Count >= (long)_maxWaiters + ReadLocked().Room + _opening + WatchingCount + _relieved)
                {
                    return new AdmissionResult(AdmissionOutcome.Rejected, ReadLocked());
                }
            }
            while (!_idle.TryShut());

            if (returning)
            {
                _queue.Prepend(waiter);
            }
            else
            {
                _queue.Append(waiter);
            }

            return new AdmissionResult(AdmissionOutcome.Queued);
        }
    }

    /// <summary>Takes a waiter out of the queue; false when something else completed it first.</summary>
    public bool TryLeave(Waiter waiter, AdmissionOutcome outcome) => TryLeave(waiter, outcome, overBy: long.MaxValue);

    /// <summary>The same for one whose budget is over. False also when it is not: who asks may have been held up, and the waiter be here for another stay.</summary>
    public bool TryTimeOut(Waiter waiter, long now) => TryLeave(waiter, AdmissionOutcome.TimedOut, overBy: now);

    /// <summary>
    /// Gives one whose budget ended while the process stood still a little more, once. False when it had that, or is here for another
    /// stay.
    /// </summary>
    public bool TryProlong(Waiter waiter, long deadline, long until)
    {
        lock (_gate)
        {
            return waiter.IsQueued && waiter.Deadline == deadline && waiter.TryProlong(until);
        }
    }

    /// <summary>Gives a held place, its connection open and ready, to the first waiter; false when nobody waits, or nobody may have it.</summary>
    /// <param name="place">The place.</param>
    /// <param name="isUnwanted">In a pause, or one too many (see <see cref="TryClaimSurplus"/>): the caller retires it.</param>
    public bool TryHandOver(int place, out bool isUnwanted)
    {
        Waiter? first;
        lock (_gate)
        {
            AssertInvariants();
            isUnwanted = _paused || TryClaimLocked(place);
            first = isUnwanted || _closed ? null : TakeFirstLocked();
            if (first is not null)
            {
                TryUnclaimLocked(place);
            }
        }

        first?.Complete(new AdmissionResult(AdmissionOutcome.Granted, place));
        return first is not null;
    }

    /// <summary>Tells all who wait that they wait in vain.</summary>
    public void FailWaiting(AdmissionOutcome outcome)
    {
        List<Waiter> waiters;
        GateCounts counts;
        lock (_gate)
        {
            AssertInvariants();
            counts = ReadLocked();
            waiters = _queue.RemoveAll();
            if (waiters.Count > 0)
            {
                OpenIdleLocked();
            }
        }

        foreach (var waiter in waiters)
        {
            waiter.Complete(new AdmissionResult(outcome, counts));
        }
    }

    /// <summary>The connection of a held place is gone: held → vacant.</summary>
    public void Vacate(int place)
    {
        lock (_gate)
        {
            AssertInvariants();
            _audit.Move(place, PlaceState.Held, PlaceState.Vacant);
            PushVacantLocked(place);
        }
    }

    /// <summary>The connection of a held place cannot be closed yet: held → quarantined.</summary>
    public void Quarantine(int place)
    {
        lock (_gate)
        {
            AssertInvariants();
            _audit.Move(place, PlaceState.Held, PlaceState.Quarantined);
            _quarantined++;
            SignalIfAllBackLocked();
        }
    }

    /// <summary>The connection of a quarantined place has been closed after all: quarantined → held, to be settled like any other.</summary>
    public void Release(int place)
    {
        lock (_gate)
        {
            AssertInvariants();
            _audit.Move(place, PlaceState.Quarantined, PlaceState.Held);
            _quarantined--;
        }
    }

    /// <summary>Refuses everybody from now on, fails the waiters and empties what is idle: idle → vacant.</summary>
    /// <returns>How many places were idle.</returns>
    public int Close()
    {
        int emptied;
        List<Waiter> waiters;
        lock (_gate)
        {
            AssertInvariants();
            if (_closed)
            {
                return 0;
            }

            Volatile.Write(ref _closed, true);
            emptied = ShutIdleLocked();
            waiters = _queue.RemoveAll();
            SignalIfAllBackLocked();
        }

        foreach (var waiter in waiters)
        {
            waiter.Complete(new AdmissionResult(AdmissionOutcome.Closed));
        }

        return emptied;
    }

    public GateCounts Read()
    {
        lock (_gate)
        {
            return ReadLocked();
        }
    }

    /// <summary>When the first budget ends of all who wait, whoever came first; null when nobody waits. Looks through the queue.</summary>
    public long? EarliestDeadline()
    {
        lock (_gate)
        {
            return _queue.EarliestDeadline();
        }
    }

    /// <summary>Those who wait and whose budget ends until <paramref name="deadline"/>.</summary>
    public IReadOnlyList<Waiter> WaitingUntil(long deadline)
    {
        lock (_gate)
        {
            return _queue.Until(deadline);
        }
    }

    /// <summary>Who waits, in order of arrival, as each said when it came; no more than <paramref name="most"/>.</summary>
    public object?[] Waiting(int most = int.MaxValue)
    {
        lock (_gate)
        {
            return _queue.Select(waiter => waiter.Who, most);
        }
    }

    private bool TryLeave(Waiter waiter, AdmissionOutcome outcome, long overBy)
    {
        GateCounts counts;
        lock (_gate)
        {
            AssertInvariants();
            if (!waiter.IsQueued || waiter.Deadline > overBy)
            {
                return false;
            }

            counts = ReadLocked() with { Waiting = _queue.Count - 1 };
            UnlinkLocked(waiter);
        }

        waiter.Complete(new AdmissionResult(outcome, counts));
        return true;
    }

    private GateCounts ReadLocked()
    {
        Debug.Assert(_gate.IsHeldByCurrentThread);
        var idle = Idle;
        return new(idle, Places - idle - _opening - _vacant - _quarantined, _opening, _quarantined, _queue.Count)
        {
            Size = _size, Limit = Limit, IsPaused = _paused,
        };
    }

    /// <summary>Empties what is idle, and shuts the stack: idle → vacant.</summary>
    private int ShutIdleLocked()
    {
        Debug.Assert(_gate.IsHeldByCurrentThread);
        var emptied = 0;
        do
        {
            while (TryTake(out var place))
            {
                _audit.Move(place, PlaceState.Held, PlaceState.Vacant);
                PushVacantLocked(place);
                emptied++;
            }
        }
        while (!_idle.TryShut());
        return emptied;
    }

    private void PushVacantLocked(int place)
    {
        Debug.Assert(_gate.IsHeldByCurrentThread);
        _vacantPlaces[_vacant++] = place;
        TryUnclaimLocked(place);
        SignalIfAllBackLocked();
    }

    private Waiter? TakeFirstLocked()
    {
        Debug.Assert(_gate.IsHeldByCurrentThread);
        var first = _queue.First;
        if (first is not null)
        {
            UnlinkLocked(first);
        }

        return first;
    }

    private void UnlinkLocked(Waiter waiter)
    {
        Debug.Assert(_gate.IsHeldByCurrentThread);
        _queue.Remove(waiter);
        if (_queue.Count == 0)
        {
            OpenIdleLocked();
        }
    }

    private void SignalIfAllBackLocked()
    {
        Debug.Assert(_gate.IsHeldByCurrentThread);
        if (_vacant + _quarantined == Places)
        {
            _allVacant?.TrySetResult();
            if (_closed)
            {
                _allBack.TrySetResult();
            }
        }
    }

    [Conditional("DEBUG")]
    private void AssertInvariants()
    {
        Debug.Assert(_gate.IsHeldByCurrentThread);
        var idle = Idle;
        Debug.Assert(_vacant >= 0 && _opening >= 0 && _quarantined >= 0 && _blockingOpens >= 0, "INV-1: no term is negative");
        Debug.Assert(idle + _opening + _vacant + _quarantined <= Places, "INV-1: held is not negative");
        Debug.Assert(_idle.IsShut == (IsShutLocked() || _queue.Count > 0), "INV-2: shut exactly while somebody waits, in a pause, or when all is closed");
        Debug.Assert(_queue.Count == 0 || _idle.Count == 0, "INV-2: nothing idle while somebody waits");
        Debug.Assert(_blockingOpens <= _opening, "INV-4: blocking opens are opens");
        Debug.Assert(_relieved is 0 or 1, "INV-6: one place watches, or is on its way back from it");
        Debug.Assert(_leaving.Count <= Places - _vacant, "INV-5: only what has a connection leaves");
    }
}
