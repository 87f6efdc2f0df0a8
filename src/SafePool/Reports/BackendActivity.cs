using SafePool.Reports;

namespace SafePool;

/// <summary>What <c>pg_stat_activity</c> said about the session of a lease. The text of its query is not read.</summary>
public sealed record BackendActivity
{
    /// <summary>Gets the session's state, as PostgreSQL names it: <c>active</c>, <c>idle</c>, <c>idle in transaction</c> and others.</summary>
    public required string State { get; init; }

    /// <summary>Gets what it waits for, for example <c>Lock: transactionid</c> or <c>Client: ClientRead</c>; null when it does not wait.</summary>
    public string? WaitEvent { get; init; }

    /// <summary>Gets for how long it has been in this state.</summary>
    public TimeSpan StateAge { get; init; }

    /// <summary>Gets how long ago its last query began; null before the first.</summary>
    public TimeSpan? QueryAge { get; init; }

    /// <summary>Gets for how long its transaction has been open; null when none is.</summary>
    public TimeSpan? TransactionAge { get; init; }

    /// <summary>The state, for how long, and what it waits for.</summary>
    /// <returns>For example <c>idle in transaction for 4.2 s (Client: ClientRead)</c>.</returns>
    public override string ToString()
        => $"{State} for {Sentences.Duration(StateAge)}{(WaitEvent is null ? "" : $" ({WaitEvent})")}";
}
