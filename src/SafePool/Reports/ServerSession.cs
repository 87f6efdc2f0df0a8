using System.Globalization;
using SafePool.Reports;

namespace SafePool;

/// <summary>One client's session on the server, as <c>pg_stat_activity</c> shows it. Without the text of its query, which may hold what should not be logged.</summary>
public sealed record ServerSession
{
    /// <summary>Gets the process id of its backend.</summary>
    public required int ProcessId { get; init; }

    /// <summary>Gets its database.</summary>
    public string? Database { get; init; }

    /// <summary>Gets its <c>application_name</c>; empty when it gave none, null when the pool's role may not see it.</summary>
    public string? Application { get; init; }

    /// <summary>Gets the role it has logged in as.</summary>
    public string? Role { get; init; }

    /// <summary>Gets <c>active</c>, <c>idle</c>, <c>idle in transaction</c> and so on; null when the pool's role may not see it.</summary>
    public string? State { get; init; }

    /// <summary>Gets for how long it has been in this state, by the server's clock; null when the pool's role may not see it.</summary>
    public TimeSpan? StateAge { get; init; }

    /// <summary>Gets whose it is.</summary>
    public required SessionOwner Owner { get; init; }

    /// <summary>Gets whether it waits for its client outside of a transaction.</summary>
    public bool IsIdle => State == BackendStates.Idle;

    /// <summary>Gets whether it waits for its client within a transaction, failed or not: it keeps its locks, and its connection, for nothing.</summary>
    public bool IsIdleInTransaction => State is BackendStates.InTransaction or BackendStates.InFailedTransaction;

    /// <summary>One line.</summary>
    /// <returns><c>pid 4711 of 'orders' (role app, database shop), idle for 6 min 2 s</c>.</returns>
    public override string ToString()
    {
        var age = StateAge is { } known ? $" for {Sentences.Duration(known)}" : "";
        return string.Create(
            CultureInfo.InvariantCulture,
            $"pid {ProcessId} of {SessionWords.Quoted(Application)} (role {Role}, database {Database}), {SessionWords.Name(State)}{age}");
    }
}
