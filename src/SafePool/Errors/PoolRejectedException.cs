namespace SafePool;

/// <summary>All connections were leased and <see cref="ConnectionPoolOptions.MaxWaiters"/> callers were waiting already.</summary>
public sealed class PoolRejectedException : PoolException
{
    internal PoolRejectedException(PoolSnapshot snapshot, int maxWaiters)
        : base(Errors.Sentences.Rejected(snapshot, maxWaiters), snapshot)
    {
    }
}
