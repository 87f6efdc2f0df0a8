using System.Diagnostics;

namespace SafePool.Admission;

/// <content>The size: how many connections may exist, changed at run time; none at all in a pause.</content>
internal sealed partial class AdmissionGate
{
    /// <summary>The largest pool there can be. Arrays that are read without the lock have this size from the start, so that growing moves none of them.</summary>
    public const int MostPlaces = 10_000;

    private const int Unknown = int.MaxValue;

    // The places whose connection is one too many, claimed by who retires it; and how many, for whoever does not hold the lock.
    private readonly HashSet<int> _leaving = [];
    private int _claims;
    private TaskCompletionSource? _allVacant;
    private int _size;
    private int _serverLimit = Unknown;
    private bool _paused;

    /// <summary>How many connections there are to be at most.</summary>
    public int Size => Volatile.Read(ref _size);

    /// <summary>How many may exist now: fewer than <see cref="Size"/> while the server has no room for more.</summary>
    public int Limit
    {
        get => Math.Min(Size, Volatile.Read(ref _serverLimit));
        set => Volatile.Write(ref _serverLimit, value >= Size ? Unknown : Math.Max(0, value));
    }

    public bool IsPaused => Volatile.Read(ref _paused);

    /// <summary>Whether a smaller size has left connections over that nobody retires yet.</summary>
    public bool HasSurplus
    {
        get
        {
            lock (_gate)
            {
                return HasSurplusLocked();
            }
        }
    }

    /// <summary>Changes the bounds. What is too many then is not touched: see <see cref="TryClaimSurplus"/>.</summary>
    public void Resize(int size, int maxWaiters, int maxConcurrentOpens)
    {
        lock (_gate)
        {
            AssertInvariants();
            (_maxWaiters, _maxConcurrentOpens) = (maxWaiters, maxConcurrentOpens);
            AddPlacesLocked(size - Places);
            Volatile.Write(ref _size, size);
        }
    }

    /// <summary>True when the connection of a held place is one too many: the caller then retires it. True once, until it is vacant, idle or somebody's.</summary>
    public bool TryClaimSurplus(int place)
    {
        lock (_gate)
        {
            AssertInvariants();
            return TryClaimLocked(place);
        }
    }

    /// <summary><see cref="TryGiveBack"/> for a place that may have been claimed, and whose connection has come to rest all the same: it is then claimed anew by whoever looks next, and its claimant may look again.</summary>
    /// <remarks>
    /// The claim is dropped before the place is idle, for afterwards it may be somebody else's, who claims it; under the lock, so that nobody sees it dropped when the place could not be given back. The first read is not: a claim of the caller's own
    /// is in the number that it sees, whatever others write at the same time.
    /// </remarks>
    public bool TryGiveBackClaimed(int place)
    {
        if (Volatile.Read(ref _claims) == 0)
        {
            return TryGiveBack(place);
        }

        lock (_gate)
        {
            AssertInvariants();
            var wasClaimed = TryUnclaimLocked(place);
            if (TryGiveBack(place))
            {
                return true;
            }

            if (wasClaimed)
            {
                ClaimLocked(place);
            }

            return false;
        }
    }

    /// <summary>In a pause: completes when it is over, or no connection is left but those in quarantine.</summary>
    public Task AllVacant
    {
        get
        {
            lock (_gate)
            {
                return _allVacant?.Task ?? Task.CompletedTask;
            }
        }
    }

    /// <summary>Lets nobody in from now on: who comes waits, what comes back is not kept, no open begins, and what is idle is emptied: idle → vacant.</summary>
    /// <param name="emptied">How many places were idle.</param>
    /// <returns>False when it is paused already.</returns>
    public bool TryPause(out int emptied)
    {
        lock (_gate)
        {
            AssertInvariants();
            emptied = 0;
            if (_paused)
            {
                return false;
            }

            _allVacant = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            Volatile.Write(ref _paused, true);
            emptied = ShutIdleLocked();
            SignalIfAllBackLocked();
            return true;
        }
    }

    /// <summary>Ends a pause. Those who wait are served by what is opened next.</summary>
    /// <returns>Whether there was one.</returns>
    public bool Resume()
    {
        lock (_gate)
        {
            AssertInvariants();
            if (!_paused)
            {
                return false;
            }

            Volatile.Write(ref _paused, false);
            _allVacant?.TrySetResult();
            _allVacant = null;
            if (_queue.Count == 0)
            {
                OpenIdleLocked();
            }

            return true;
        }
    }

    private bool IsShutLocked() => _closed || _paused;

    private bool HasSurplusLocked()
    {
        Debug.Assert(_gate.IsHeldByCurrentThread);
        return ReadLocked().Surplus > _leaving.Count;
    }

    private bool TryClaimLocked(int place) => HasSurplusLocked() && ClaimLocked(place);

    private bool ClaimLocked(int place)
    {
        Debug.Assert(_gate.IsHeldByCurrentThread);
        var isFirst = _leaving.Add(place);
        Volatile.Write(ref _claims, _leaving.Count);
        return isFirst;
    }

    private bool TryUnclaimLocked(int place)
    {
        Debug.Assert(_gate.IsHeldByCurrentThread);
        var was = _leaving.Remove(place);
        Volatile.Write(ref _claims, _leaving.Count);
        return was;
    }

    private void OpenIdleLocked()
    {
        Debug.Assert(_gate.IsHeldByCurrentThread);
        if (!IsShutLocked())
        {
            _idle.Open();
        }
    }

    private void AddPlacesLocked(int count)
    {
        if (count <= 0)
        {
            return;
        }

        var first = Places;
        Places += count;
        Array.Resize(ref _vacantPlaces, Places);
        for (var place = Places - 1; place >= first; place--)
        {
            _vacantPlaces[_vacant++] = place;
        }
    }
}
