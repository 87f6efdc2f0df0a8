namespace SafePool;

/// <summary>What one rent does differently from the pool's options.</summary>
public sealed record RentOptions
{
    /// <summary>Gets how long this rent may take.</summary>
    /// <value>Default: <see langword="null"/>, <see cref="ConnectionPoolOptions.AcquireTimeout"/>. Zero does not wait at all; <see cref="Timeout.InfiniteTimeSpan"/> waits for ever.</value>
    public TimeSpan? AcquireTimeout { get; init; }

    /// <summary>Gets PostgreSQL's <c>statement_timeout</c> for this lease. Undone when it comes back.</summary>
    /// <value>Default: <see langword="null"/>, <see cref="ConnectionPoolOptions.StatementTimeout"/>. Range: 1 millisecond to 24 days. Costs a round trip.</value>
    /// <remarks>Behind a pooler that hands out servers per transaction it is in force only in <c>lease.BeginTransaction</c>.</remarks>
    public TimeSpan? StatementTimeout { get; init; }

    /// <summary>Gets how long this lease is expected to be held; after that it is overdue.</summary>
    /// <value>Default: <see langword="null"/>, <see cref="LeakOptions.Threshold"/>. Range: more than zero.</value>
    public TimeSpan? ExpectedHold { get; init; }

    /// <summary>Gets a word of the caller's own that messages about this lease repeat.</summary>
    public string? Label { get; init; }
}
