using System.Collections.Immutable;
using SafePool.Diagnostics;
using SafePool.Reports;

namespace SafePool;

/// <summary>All connections were leased and none came back in time. The message says why, and whose code to look at.</summary>
public sealed class PoolExhaustedException : PoolException
{
    internal PoolExhaustedException(PoolSnapshot snapshot, TimeSpan waited, Diagnosis diagnosis, TimeSpan? retryAfter)
        : base(Sentences.Exhausted(snapshot, waited, diagnosis), snapshot)
    {
        Waited = waited;
        Diagnosis = diagnosis;
        RetryAfter = retryAfter;
        HelpLink = diagnosis.HelpLink;
    }

    /// <summary>Gets how long this rent waited.</summary>
    public TimeSpan Waited { get; }

    /// <summary>Gets why the pool ran out, and what the verdict rests on.</summary>
    public Diagnosis Diagnosis { get; }

    /// <summary>Gets after how long the pool tries to grow again, when the server had no room for another connection; null when it depends on leases alone.</summary>
    public TimeSpan? RetryAfter { get; }

    /// <summary>Gets who held the leases, the longest first.</summary>
    public ImmutableArray<LeaseHolder> Holders => Snapshot.Holders;
}
