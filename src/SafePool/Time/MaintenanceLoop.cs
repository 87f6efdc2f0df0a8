namespace SafePool.Time;

/// <summary>The one timer of a pool. Holds the pool weakly, so that one that was dropped without being disposed stops its timer; but not while a rent waits.</summary>
/// <remarks>
/// <para>
/// Whoever awaits a rent is referred to by the rent alone, and that by the pool. Where nobody else refers to the pool (a local of a flow that nobody keeps, every lease forgotten) the collector would take them all, and the
/// rent would never end. Invariant: from its first tick in the queue on a rent keeps the pool; a tick that finds nobody waiting lets go of it.
/// </para>
/// It ticks four times a second while anybody uses the pool, and sleeps while nobody does, until something is due or a rent wakes it. Asleep it leaves the clock stale, which is
/// what the rent notices. Thread-safety: every member may be called from any thread.
/// </remarks>
internal sealed class MaintenanceLoop : IDisposable
{
    /// <summary>How often it runs, and so how coarse the coarse clock is.</summary>
    public static readonly TimeSpan Period = TimeSpan.FromMilliseconds(250);

    private readonly Lock _gate = new();
    private readonly WeakReference<ConnectionPool> _pool;
    private readonly PoolClock _clock;
    private readonly ITimer _timer;
    private volatile ConnectionPool? _kept;
    private bool _isAsleep;

    public MaintenanceLoop(ConnectionPool pool, PoolClock clock)
    {
        _pool = new WeakReference<ConnectionPool>(pool);
        _clock = clock;

        // Without suppression the timer would keep the AsyncLocals of whoever built the pool.
        using (ExecutionContext.SuppressFlow())
        {
            _timer = clock.Provider.CreateTimer(
                static state => ((MaintenanceLoop)state!).Tick(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        }
    }

    public void Start()
    {
        _clock.Promised = Period;
        _timer.Change(Period, Period);
    }

    /// <summary>A rent stands in the queue now: the pool lives until a tick finds that none does.</summary>
    public void Keep()
    {
        if (_kept is null && _pool.TryGetTarget(out var pool))
        {
            _kept = pool;
        }
    }

    /// <summary>The next tick comes after <paramref name="span"/>, unless somebody wakes it.</summary>
    public void Sleep(TimeSpan span)
    {
        lock (_gate)
        {
            _isAsleep = true;
            _clock.Promised = span;
            _clock.Suspend();
            _timer.Change(span, Period);
        }
    }

    /// <summary>Ticks as usual again. Does nothing when it is awake.</summary>
    public void Wake()
    {
        lock (_gate)
        {
            if (_isAsleep)
            {
                _isAsleep = false;
                _clock.Promised = Period;
                _timer.Change(Period, Period);
            }
        }
    }

    public void Dispose()
    {
        _clock.Promised = Timeout.InfiniteTimeSpan;
        _timer.Dispose();
        _kept = null;
    }

    private void Tick()
    {
        lock (_gate)
        {
            if (_isAsleep)
            {
                _isAsleep = false;
                _clock.Promised = Period;
            }
        }

        if (_pool.TryGetTarget(out var pool))
        {
            // First let go, then look: who comes in between is either seen, or keeps it anew.
            _kept = null;
            Interlocked.MemoryBarrier();
            if (pool.Parts.Gate.Read().Waiting > 0)
            {
                _kept = pool;
            }

            pool.Maintain();
        }
        else
        {
            Dispose();
        }
    }
}
