namespace SafePool.Time;

/// <summary>Blocking talk with the server on a thread of its own.</summary>
/// <remarks>
/// Not on the caller's, who may wait for it only so long; and not on the thread pool's, which may be starved by the very callers who wait. What is done here
/// is rare, or has no asynchronous form in Npgsql. Besides, on a socket that was used asynchronously before, even a blocking read was seen to wait for a starved thread pool.
/// What follows on it goes on on the same thread, for the same reason.
/// </remarks>
internal static class OwnThread
{
    private static readonly OwnThreads _threads = new(keepFor: TimeSpan.FromSeconds(5));

    public static Task RunAsync(Action work) => RunAsync(() =>
    {
        work();
        return true;
    });

    public static Task<T> RunAsync<T>(Func<T> work)
    {
        // Without RunContinuationsAsynchronously: that would need a thread of the pool.
        var ended = new TaskCompletionSource<T>();
        _threads.Run(() =>
        {
            T result;
            try
            {
                result = work();
            }
            catch (Exception error)
            {
                ended.SetException(error);
                return;
            }

            ended.SetResult(result);
        });
        return ended.Task;
    }
}
