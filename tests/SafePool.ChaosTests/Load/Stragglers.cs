namespace SafePool.ChaosTests.Load;

/// <summary>Commands whose leases have gone back before them. Each must end, and soon.</summary>
internal sealed class Stragglers
{
    private int _running;

    public int Running => Volatile.Read(ref _running);

    public void Add(Task running)
    {
        Interlocked.Increment(ref _running);
        _ = running.ContinueWith(
            task =>
            {
                _ = task.Exception; // Observed: that it was cancelled, or broke, was to be expected.
                Interlocked.Decrement(ref _running);
            },
            CancellationToken.None,
            TaskContinuationOptions.ExecuteSynchronously,
            TaskScheduler.Default);
    }
}
