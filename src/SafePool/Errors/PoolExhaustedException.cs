using System.Collections.Immutable;

namespace SafePool;

/// <summary>All connections were leased and none came back in time.</summary>
public sealed class PoolExhaustedException : PoolException
{
    internal PoolExhaustedException(PoolSnapshot snapshot, TimeSpan waited)
        : base(Errors.Sentences.Exhausted(snapshot, waited), snapshot)
        => Waited = waited;

    /// <summary>Gets how long this rent waited.</summary>
    public TimeSpan Waited { get; }

    /// <summary>Gets who held the leases, the longest first.</summary>
    public ImmutableArray<LeaseHolder> Holders => Snapshot.Holders;
}
