using System.Diagnostics;

namespace SafePool.Admission;

/// <content>The place whose connection watches the server: idle for everybody who counts, and given up for whoever finds nothing else.</content>
internal sealed partial class AdmissionGate
{
    private const int Nobody = -1;

    private int _watching = Nobody;
    private int _relieved;

    /// <summary>Whether a place is watching. One read.</summary>
    public bool HasWatch => Volatile.Read(ref _watching) != Nobody;

    private int WatchingCount => HasWatch ? 1 : 0;

    /// <summary>Sets a held place, its connection open, to watch: held → watching. False when one watches already, somebody waits, or nothing may be idle.</summary>
    public bool TryBeginWatch(int place)
    {
        lock (_gate)
        {
            AssertInvariants();
            if (_watching != Nobody || _relieved > 0 || _queue.Count > 0 || IsShutLocked() || HasSurplusLocked())
            {
                return false;
            }

            _audit.Move(place, PlaceState.Held, PlaceState.Watching);
            Volatile.Write(ref _watching, place);
            return true;
        }
    }

    /// <summary>Relieves the place that watches: watching → held by the caller, who settles it and then calls <see cref="EndRelief"/>. True for one caller.</summary>
    public bool TryRelieve(out int place)
    {
        lock (_gate)
        {
            AssertInvariants();
            place = _watching;
            if (place == Nobody)
            {
                return false;
            }

            _audit.Move(place, PlaceState.Watching, PlaceState.Held);
            Volatile.Write(ref _watching, Nobody);
            _relieved++;
            return true;
        }
    }

    /// <summary>The relieved place has been settled, or is about to be vacated: opens no longer count on it.</summary>
    public void EndRelief()
    {
        lock (_gate)
        {
            Debug.Assert(_relieved == 1, "INV-6: one place is on its way back");
            _relieved--;
        }
    }
}
