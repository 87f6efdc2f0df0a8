using SafePool.Reports;

namespace SafePool;

/// <summary>The server could not be asked, over a connection that the pool opens beside its own for that: no rent is concerned.</summary>
/// <remarks>
/// It is refused when the server is full, cannot be had while the server is down, and is of no use when the address leads to another server than the one on which the pool has its sessions: nothing is reported of that, and nothing
/// is ended there. <see cref="Exception.InnerException"/> says which.
/// </remarks>
public sealed class ControlConnectionException : PoolException
{
    internal ControlConnectionException(PoolSnapshot snapshot, string task, int terminated, Exception cause, bool isFull, bool isElsewhere)
        : base(Sentences.ServerNotAsked(snapshot, task, terminated, cause, isFull, isElsewhere), snapshot, cause)
        => Terminated = terminated;

    /// <summary>Gets how many sessions <see cref="IConnectionPool.TerminateIdleSessionsAsync"/> had told to end before it failed; otherwise 0.</summary>
    public int Terminated { get; }
}
