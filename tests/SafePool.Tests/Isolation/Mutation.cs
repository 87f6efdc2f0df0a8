using Npgsql;
using SafePool.Tests.Integration;

namespace SafePool.Tests.Isolation;

/// <summary>One way to dirty a session, and the way to see afterwards that somebody did.</summary>
/// <param name="Name">As the table in docs/session-reset.md has it.</param>
internal sealed record Mutation(string Name)
{
    /// <summary>Dirties the session.</summary>
    public required Func<NpgsqlConnection, Task> DoAsync { get; init; }

    /// <summary>Whether the holder of the connection can see it. Run before anything else on a new lease.</summary>
    public required Func<NpgsqlConnection, AuditDatabase, Task<bool>> SeenAsync { get; init; }

    /// <summary>Whether others can see it while the session is at rest.</summary>
    public Func<AuditDatabase, Task<bool>>? SeenAtRestAsync { get; init; }

    /// <summary>A mutation by SQL, with a probe in SQL.</summary>
    public static Mutation Sql(string name, string sql, string probe) => By(name, connection => connection.DoAsync(sql), probe);

    /// <summary>A mutation through the driver, with a probe in SQL.</summary>
    public static Mutation By(string name, Func<NpgsqlConnection, Task> doAsync, string probe)
        => new(name)
        {
            DoAsync = doAsync,
            SeenAsync = (connection, _) => connection.AskAsync<bool>($"SELECT coalesce(({probe}), false)"),
        };

    /// <summary>A mutation that leaves a transaction, which the driver refuses to nest.</summary>
    public static Mutation Transaction(string name, Func<NpgsqlConnection, Task> doAsync)
        => new(name) { DoAsync = doAsync, SeenAsync = (connection, _) => Probes.IsInTransactionAsync(connection) };
}
