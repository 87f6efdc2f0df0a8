namespace SafePool.Maintenance;

/// <summary>The one timer of a pool. Holds the pool weakly: a pool that was dropped without being disposed stops its timer.</summary>
internal sealed class MaintenanceLoop : IDisposable
{
    /// <summary>How often it runs, and so how coarse the coarse clock is.</summary>
    public static readonly TimeSpan Period = TimeSpan.FromMilliseconds(250);

    private readonly WeakReference<ConnectionPool> _pool;
    private readonly ITimer _timer;

    public MaintenanceLoop(ConnectionPool pool, TimeProvider clock)
    {
        _pool = new WeakReference<ConnectionPool>(pool);

        // Without suppression the timer would keep the AsyncLocals of whoever built the pool.
        using (ExecutionContext.SuppressFlow())
        {
            _timer = clock.CreateTimer(static state => ((MaintenanceLoop)state!).Tick(), this, Period, Period);
        }
    }

    public void Dispose() => _timer.Dispose();

    private void Tick()
    {
        if (_pool.TryGetTarget(out var pool))
        {
            pool.Maintain();
        }
        else
        {
            Dispose();
        }
    }
}
