namespace SafePool;

/// <summary>The server could not be asked, over the connection that the pool keeps beside its own for that: no rent is concerned.</summary>
/// <remarks>
/// It is refused when the server is full, unless it is open already (<see cref="ConnectionPoolOptions.WatchServer"/>); and it cannot be had while the server is down.
/// <see cref="Exception.InnerException"/> says which.
/// </remarks>
public sealed class ControlConnectionException : PoolException
{
    internal ControlConnectionException(PoolSnapshot snapshot, string task, int terminated, Exception cause)
        : base(Errors.Sentences.ServerNotAsked(snapshot, task, terminated, cause), snapshot, cause)
        => Terminated = terminated;

    /// <summary>Gets how many sessions <see cref="IConnectionPool.TerminateIdleSessionsAsync"/> had told to end before it failed; otherwise 0.</summary>
    public int Terminated { get; }
}
