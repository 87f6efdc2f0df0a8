using SafePool.Reports;

namespace SafePool;

/// <summary>The lease was taken away from its holder: it was quiet for longer than <see cref="LeakOptions.AbandonAfter"/> while others waited.</summary>
public sealed class LeaseAbandonedException : ObjectDisposedException
{
    internal LeaseAbandonedException(LeaseHolder holder)
        : base(nameof(Lease), LeakSentences.UseOfAbandoned(holder))
        => Holder = holder;

    /// <summary>Gets the lease as it was when it was taken away.</summary>
    public LeaseHolder Holder { get; }
}
