using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;
using SafePool.Diagnostics;
using SafePool.Leases;
using SafePool.Logging;

namespace SafePool.Leaks;

/// <summary>Takes back the leases of which every copy was lost (design decision D3).</summary>
/// <remarks>
/// <para>
/// The collector tells through the finalizer of <see cref="LeaseHandle"/>. A lease that was never used is a corpse and taken back at once. One that was
/// used is a suspect, because somebody may still use its connection without the lease: it is taken back once it is overdue, or callers are about to run out of time
/// (<see cref="DroppedLease"/>). Whoever used it after all then gets an error from Npgsql, never somebody else's session: the connection is retired.
/// </para>
/// <para>
/// A pool that is full of lost leases makes no garbage, so no collection would come: one is started, in the background, never on a request's
/// thread, when the pool is full and a lease is overdue or a waiter's time is running out; or somebody's has just run out, as where nobody may wait. Two in a row, since a finalizer acts at its
/// second run; then pauses grow while nothing is found.
/// </para>
/// </remarks>
internal sealed class DroppedLeases(PoolParts parts, Reclaimer reclaimer)
{
    private const long Never = long.MinValue;

    private static readonly TimeSpan _pressing = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan _firstPause = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan _longestPause = TimeSpan.FromSeconds(30);

    private readonly ConcurrentQueue<(LeaseSlot Slot, long LeaseId)> _reported = new();
    private readonly List<DroppedLease> _suspects = [];
    private readonly Lock _working = new();
    private long _nextCollection = long.MinValue;
    private long _refusals;
    private long _refusedAt = Never;
    private volatile bool _foundSome;
    private bool _secondIsDue;
    private TimeSpan _pause = _firstPause;

    /// <summary>A collection has found something, so the next need not be put off; called on the finalizer's thread.</summary>
    public void NoteFound() => _foundSome = true;

    /// <summary>Called on the finalizer's thread, which must not work: only queues.</summary>
    public void Report(LeaseSlot slot, long leaseId)
    {
        slot.LostLeaseId = leaseId;
        _reported.Enqueue((slot, leaseId));
        ThreadPool.UnsafeQueueUserWorkItem(static dropped => dropped.ExamineSafely(), this, preferLocal: false);
    }

    /// <summary>One look at what was reported and suspected, and at whether to start a collection; called by the maintenance loop.</summary>
    public void Check()
    {
        NoteRefusals();
        Examine();
        CollectIfPressed();
    }

    /// <summary>Whether a full pool has turned somebody away since the last look.</summary>
    private void NoteRefusals()
    {
        var refusals = parts.Totals.Timeouts + parts.Totals.Rejected;
        if (refusals != _refusals && parts.Gate.Read().IsFull)
        {
            Volatile.Write(ref _refusedAt, parts.Clock.Exact);
        }

        _refusals = refusals;
    }

    private void ExamineSafely()
    {
        try
        {
            Examine();
        }
        catch (Exception error)
        {
            // The pool may be garbage as well, and parts of it finalized already.
            Log.MaintenanceFailed(parts.Logger, parts.Settings.Name, error);
        }
    }

    private void Examine()
    {
        List<DroppedLease> taken = [];
        lock (_working)
        {
            while (_reported.TryDequeue(out var report))
            {
                _suspects.Add(new DroppedLease(parts, report.Slot, report.LeaseId));
            }

            var isPressing = _suspects.Count > 0 && IsPressing();
            for (var i = _suspects.Count - 1; i >= 0; i--)
            {
                var suspect = _suspects[i];
                if (!suspect.IsPresent)
                {
                    _suspects.RemoveAt(i);
                }
                else if (suspect.MayBeTakenBack(isPressing))
                {
                    _suspects.RemoveAt(i);
                    taken.Add(suspect);
                }
            }
        }

        foreach (var lease in taken)
        {
            if (parts.Holders.Describe(lease.Slot) is { } holder && holder.LeaseId == lease.LeaseId)
            {
                reclaimer.TryTakeBack(LeakKind.Dropped, lease.Slot, holder);
            }
        }
    }

    private void CollectIfPressed()
    {
        if (_foundSome)
        {
            // It paid: do not wait so long for the next one.
            _foundSome = false;
            _pause = _firstPause;
            _nextCollection = long.MinValue;
        }

        var counts = parts.Gate.Read();
        if (counts is not ({ Leased: > 0 } and ({ IsFull: true } or { IsPaused: true })) || !(IsPressing() || AnyIsOverdue()))
        {
            // Somebody returned something: begin anew, but not at once again.
            _pause = _firstPause;
            _secondIsDue = false;
            _nextCollection = Math.Min(_nextCollection, parts.Clock.After(parts.Clock.Coarse, _firstPause));
            return;
        }

        if (parts.Clock.Coarse < _nextCollection)
        {
            return;
        }

        parts.Recorder.Record(FlightEventKind.CollectionInduced);
        Log.CollectionInduced(parts.Logger, parts.Settings.Name, counts.Leased, counts.Size, counts.Waiting);
        GC.Collect(GC.MaxGeneration, GCCollectionMode.Forced, blocking: false);
        _secondIsDue = !_secondIsDue;
        if (!_secondIsDue)
        {
            _nextCollection = parts.Clock.After(parts.Clock.Coarse, _pause);
            _pause = _pause * 2 < _longestPause ? _pause * 2 : _longestPause;
        }
    }

    private bool IsPressing()
    {
        // Who fails at once does not wait.
        if (parts.Exhaustion.IsTripped || (Volatile.Read(ref _refusedAt) is var refusedAt and not Never && parts.Clock.Since(refusedAt) < _pressing))
        {
            return true;
        }

        if (parts.Gate.EarliestDeadline() is not { } deadline || deadline == long.MaxValue)
        {
            return false;
        }

        var half = parts.Settings.AcquireTimeout / 2;
        return deadline - parts.Clock.Exact <= parts.Clock.After(0, half > _pressing ? half : _pressing);
    }

    private bool AnyIsOverdue()
    {
        foreach (var slot in parts.Ledger.Slots)
        {
            if (slot.LeaseId != 0 && parts.Ledger.IsOverdue(slot, parts.Settings.Leaks.Threshold))
            {
                return true;
            }
        }

        return false;
    }
}
