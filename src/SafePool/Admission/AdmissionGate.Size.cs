using System.Diagnostics;

namespace SafePool.Admission;

/// <content>The size: how many connections may exist, changed at run time; none at all in a pause.</content>
internal sealed partial class AdmissionGate
{
    /// <summary>The largest pool there can be. Arrays that are read without the lock have this size from the start, so that growing moves none of them.</summary>
    public const int MostPlaces = 10_000;

    private const int Unknown = int.MaxValue;

    // The places whose connection is one too many, claimed by who retires it.
    private readonly HashSet<int> _leaving = [];
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

    /// <summary>True when the connection of a held place is one too many: the caller then retires it. True once for each.</summary>
    public bool TryClaimSurplus(int place)
    {
        lock (_gate)
        {
            AssertInvariants();
            return HasSurplusLocked() && _leaving.Add(place);
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
