using SafePool.Reports;

namespace SafePool;

/// <summary>What was found out about a lease.</summary>
public enum LeakKind
{
    /// <summary>It has been held for longer than its threshold.</summary>
    Overdue = 0,

    /// <summary>Every copy of it was lost; it was taken back.</summary>
    Dropped,

    /// <summary>It was quiet for <see cref="LeakOptions.AbandonAfter"/> while callers waited; its connection was cut off.</summary>
    Abandoned,

    /// <summary>It had been reported as overdue, and was returned.</summary>
    ReturnedAfterAll,
}

/// <summary>One finding about one lease.</summary>
/// <param name="Kind">What was found out.</param>
/// <param name="PoolName">The pool that issued it.</param>
/// <param name="Holder">The lease, as far as it is known.</param>
public sealed record LeakReport(LeakKind Kind, string PoolName, LeaseHolder Holder)
{
    /// <summary>The finding in one sentence, as it is logged.</summary>
    /// <returns>For example <c>Pool 'orders': lease 8123, 41.0 s, rented at OrderStore.cs:57 (LoadAsync), … is overdue …</c>.</returns>
    public override string ToString() => LeakSentences.Describe(this);
}
