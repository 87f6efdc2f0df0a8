using SafePool.Reports;

namespace SafePool;

/// <summary>The pool is draining or disposed.</summary>
public sealed class PoolClosedException : PoolException
{
    internal PoolClosedException(PoolSnapshot snapshot)
        : base(Sentences.Closed(snapshot), snapshot)
    {
    }
}
