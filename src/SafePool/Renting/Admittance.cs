using SafePool.Admission;
using SafePool.Driver;
using SafePool.Leases;
using SafePool.Lifecycle;
using SafePool.Lifecycle.Enlistments;

namespace SafePool.Renting;

/// <summary>Gets a place for a rent: the one that its transaction has, one that is idle, or one that somebody will give back.</summary>
internal sealed class Admittance
{
    // It takes a tenth of a millisecond, unless the thread pool is starved.
    private static readonly TimeSpan _longestRelief = TimeSpan.FromMilliseconds(50);

    private readonly PoolParts _parts;
    private readonly ConnectionOpener _opener;
    private readonly EnlistedPlaces _enlisted;
    private readonly Deadlock? _deadlock;
    private readonly ServerWatch _watch;
    private readonly WaitingRoom _room;
    private readonly Action<Waiter> _onQueued;
    private long _waitNotedAt = long.MinValue;

    public Admittance(PoolParts parts, ConnectionOpener opener, EnlistedPlaces enlisted, Deadlock? deadlock, ServerWatch watch)
    {
        _parts = parts;
        _opener = opener;
        _enlisted = enlisted;
        _deadlock = deadlock;
        _watch = watch;
        _room = new WaitingRoom(parts.Gate, parts.Clock);
        _onQueued = OnQueued;
    }

    /// <summary>The place that an earlier lease in the same transaction has left.</summary>
    public LeaseSlot? Resume(PendingRent rent)
        => rent.Ambient is { } transaction && _enlisted.TryResume(transaction, rent.Onto, out var slot) ? slot : null;

    public LeaseSlot? TakeIdle() => TryTakeIdle(out var place) ? _parts.Ledger[place] : null;

    /// <summary>Asks for a place. True when <see cref="Waiter.Admission"/> says how that ended, as it does for those who block; otherwise the rent stands in the queue, and goes on by itself.</summary>
    public bool TryAdmit(PendingRent rent)
    {
        if (rent.Patience == TimeSpan.Zero)
        {
            rent.Admission = TakeNow();
            return true;
        }

        if (rent.IsBlocking)
        {
            RelieveIfNothingElse();
            _room.Wait(rent, rent.IsReturning, _onQueued);
            return true;
        }

        return _room.Enter(rent, rent.IsReturning, _onQueued, rent.CancellationToken);
    }

    /// <inheritdoc cref="WaitingRoom.ArmNear"/>
    public void ArmNear() => _room.ArmNear();

    /// <summary>Ends a rent that waits for leases which wait for it, as far as can be seen. Called at every tick, where flows are followed.</summary>
    public void LookForDeadlock()
    {
        if (_deadlock?.Look() is { } last && last.Rent.Who == last.Flow)
        {
            _parts.Gate.TryLeave(last.Rent, AdmissionOutcome.Deadlocked);
        }
    }

    /// <summary>A budget of zero: what is idle now, or nothing. Something is opened all the same, for the next one.</summary>
    private AdmissionResult TakeNow()
    {
        if (TryTakeIdle(out var place))
        {
            return new AdmissionResult(AdmissionOutcome.Granted, place);
        }

        _opener.OpenSpeculatively();
        var outcome = _parts.Gate.IsClosed ? AdmissionOutcome.Closed : OfHopeless() ?? AdmissionOutcome.TimedOut;
        return new AdmissionResult(outcome, _parts.Gate.Read());
    }

    private bool TryTakeIdle(out int place) => _parts.Gate.TryTake(out place) || (RelieveIfNothingElse() && _parts.Gate.TryTake(out place));

    /// <summary>For those who block, or will not wait: the connection that watches is idle as well.</summary>
    private bool RelieveIfNothingElse() => _parts.Gate.IdleMoves.Count == 0 && _watch.Relieve(_longestRelief);

    private void OnQueued(Waiter waiter)
    {
        _parts.Loop.Keep();
        _watch.Relieve();

        // First, because it may find that the circuit is to open now. The other way round, a circuit that opens in between would leave this one waiting.
        _opener.Pump();
        if (!_opener.IsSettingAside && OfHopeless() is { } hopeless && _parts.Gate.TryLeave(waiter, hopeless))
        {
            return;
        }

        _parts.Totals.CountWait();
        NoteWait();
    }

    /// <summary>Once a tick: in a pool that is always full waits alone would fill the recorder within milliseconds.</summary>
    private void NoteWait()
    {
        var tick = _parts.Clock.Coarse;
        if (Volatile.Read(ref _waitNotedAt) != tick && Interlocked.Exchange(ref _waitNotedAt, tick) != tick)
        {
            _parts.Recorder.Record(FlightEventKind.Wait);
        }
    }

    /// <summary>Why it would be in vain to wait; null when it may not be.</summary>
    private AdmissionOutcome? OfHopeless()
        => _parts.Breaker.IsOpen ? AdmissionOutcome.CircuitOpen
            : _parts.Exhaustion.IsTripped ? AdmissionOutcome.Stuck
            : null;
}
