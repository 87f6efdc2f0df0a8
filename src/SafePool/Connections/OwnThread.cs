namespace SafePool.Connections;

/// <summary>Blocking talk with the server on a thread of its own.</summary>
/// <remarks>
/// Not on the caller's, who may wait for it only so long; and not on the thread pool's, which may be starved by the very callers who wait. What is done here
/// is rare, or has no asynchronous form in Npgsql. Besides, on a socket that was used asynchronously before, even a blocking read was seen to wait for a starved thread pool.
/// </remarks>
internal static class OwnThread
{
    public static Task RunAsync(Action work) => Task.Factory.StartNew(
        work, CancellationToken.None, TaskCreationOptions.LongRunning | TaskCreationOptions.DenyChildAttach, TaskScheduler.Default);

    public static Task<T> RunAsync<T>(Func<T> work) => Task.Factory.StartNew(
        work, CancellationToken.None, TaskCreationOptions.LongRunning | TaskCreationOptions.DenyChildAttach, TaskScheduler.Default);
}
