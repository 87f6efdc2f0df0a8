using SafePool.Reports;

namespace SafePool;

/// <summary>All connections were leased and <see cref="ConnectionPoolOptions.MaxWaiters"/> callers were waiting already.</summary>
public sealed class PoolRejectedException : PoolException
{
    internal PoolRejectedException(PoolSnapshot snapshot, int maxWaiters, Diagnosis diagnosis)
        : base(Sentences.Rejected(snapshot, maxWaiters, diagnosis), snapshot)
    {
        Diagnosis = diagnosis;
        HelpLink = diagnosis.HelpLink;
    }

    /// <summary>Gets why the pool ran out, and what the verdict rests on.</summary>
    public Diagnosis Diagnosis { get; }
}
