using SafePool.Reports;

namespace SafePool;

/// <summary>The pool was paused (<see cref="IConnectionPool.PauseAsync"/>) for longer than the caller would wait.</summary>
public sealed class PoolPausedException : PoolException
{
    internal PoolPausedException(PoolSnapshot snapshot, TimeSpan waited)
        : base(Sentences.Paused(snapshot, waited), snapshot)
        => Waited = waited;

    /// <summary>Gets how long the caller waited; zero when the queue was full.</summary>
    public TimeSpan Waited { get; }
}
