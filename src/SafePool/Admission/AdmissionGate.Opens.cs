using System.Diagnostics;

namespace SafePool.Admission;

/// <content>The opens: when one may begin, and how it ends.</content>
internal sealed partial class AdmissionGate
{
    /// <summary>Starts an open because of demand: vacant → opening. False when none is called for or allowed.</summary>
    /// <param name="most">How many may be under way with it, if that is less than the limit of concurrent opens.</param>
    /// <param name="place">The place to open.</param>
    /// <param name="blocking">True when it must not depend on the thread pool, because callers block on it.</param>
    public bool TryBeginOpen(int most, out int place, out bool blocking)
    {
        lock (_gate)
        {
            AssertInvariants();
            // Who blocks may be blocking the very thread that the relieved one needs to come back.
            var coming = _queue.BlockingCount > 0 ? 0 : _relieved;
            if (!TryBeginLocked(_queue.Count > _opening + coming, most, out place))
            {
                blocking = false;
                return false;
            }

            blocking = _queue.BlockingCount > _blockingOpens;
            _blockingOpens += blocking ? 1 : 0;
            return true;
        }
    }

    /// <summary>Starts an open because fewer than <paramref name="minimum"/> connections exist or are on their way.</summary>
    public bool TryBeginFill(int minimum, int most, out int place)
    {
        lock (_gate)
        {
            AssertInvariants();
            return TryBeginLocked(ReadLocked().Existing < minimum, most, out place);
        }
    }

    /// <summary>An open has ended well: opening → held, by the opener, or with <paramref name="handOver"/> by the first waiter.</summary>
    /// <remarks>In one step, or somebody would see one open less and as many waiters as before, and begin one more than is needed.</remarks>
    /// <returns>Whether a waiter has it.</returns>
    public bool OpenSucceeded(int place, bool blocking, bool handOver = false)
    {
        Waiter? first;
        lock (_gate)
        {
            AssertInvariants();
            EndOpenLocked(place, blocking, PlaceState.Held);
            first = handOver && !IsShutLocked() ? TakeFirstLocked() : null;
        }

        first?.Complete(new AdmissionResult(AdmissionOutcome.Granted, place));
        return first is not null;
    }

    /// <summary>An open has failed: opening → vacant. The first waiter, if there is one, learns it.</summary>
    /// <param name="place">Its place.</param>
    /// <param name="blocking">As it began.</param>
    /// <param name="error">For the waiter; null when nobody needs to know, and all go on waiting.</param>
    /// <param name="connected">There is a connection all the same: opening → held, by the opener, until it is gone.</param>
    /// <returns>What there is now.</returns>
    public GateCounts OpenFailed(int place, bool blocking, Exception? error, bool connected = false)
    {
        Waiter? first;
        GateCounts counts;
        lock (_gate)
        {
            AssertInvariants();
            EndOpenLocked(place, blocking, connected ? PlaceState.Held : PlaceState.Vacant);
            if (!connected)
            {
                PushVacantLocked(place);
            }

            first = error is null ? null : TakeFirstLocked();
            counts = ReadLocked();
        }

        first?.Complete(new AdmissionResult(error!));
        return counts;
    }

    private bool TryBeginLocked(bool wanted, int most, out int place)
    {
        Debug.Assert(_gate.IsHeldByCurrentThread);
        place = -1;

        // Read once: others change the limit at any time.
        var counts = ReadLocked();
        if (!wanted || IsShutLocked() || counts.Room == 0 || counts.Opening >= Math.Min(most, _maxConcurrentOpens))
        {
            return false;
        }

        place = _vacantPlaces[--_vacant];
        _audit.Move(place, PlaceState.Vacant, PlaceState.Opening);
        _opening++;
        Debug.Assert(_opening <= _maxConcurrentOpens && Places - _vacant <= counts.Limit, "INV-4, INV-5: opens are limited");
        return true;
    }

    private void EndOpenLocked(int place, bool blocking, PlaceState next)
    {
        Debug.Assert(_gate.IsHeldByCurrentThread);
        _audit.Move(place, PlaceState.Opening, next);
        _opening--;
        _blockingOpens -= blocking ? 1 : 0;
    }
}
