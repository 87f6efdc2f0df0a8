using System.Transactions;
using Npgsql;
using Xunit;

namespace SafePool.DriverContract.Kit;

/// <summary>Short words for what tests do on a session.</summary>
internal static class Words
{
    /// <summary>Runs for as long as nobody cancels it.</summary>
    public const string Endless = "SELECT pg_sleep(600)";

    /// <summary>More rows than fit into any buffer.</summary>
    public const string ManyRows = "SELECT generate_series(1, 100000000)";

    public static async Task DoAsync(this NpgsqlConnection connection, string sql)
    {
        await using var command = new NpgsqlCommand(sql, connection);
        await command.ExecuteNonQueryAsync(TestContext.Current.CancellationToken);
    }

    public static async Task<T> AskAsync<T>(this NpgsqlConnection connection, string sql)
    {
        await using var command = new NpgsqlCommand(sql, connection);
        return (T)(await command.ExecuteScalarAsync(TestContext.Current.CancellationToken))!;
    }

    /// <summary>Makes the server raise an error with this SQLSTATE.</summary>
    public static Task FailAsync(this NpgsqlConnection connection, string sqlState)
        => connection.DoAsync($"DO $$ BEGIN RAISE EXCEPTION 'on purpose' USING ERRCODE = '{sqlState}'; END $$");

    /// <summary>A scope that flows with the caller.</summary>
    public static TransactionScope Scope()
        => new(
            TransactionScopeOption.Required,
            new TransactionOptions { IsolationLevel = IsolationLevel.ReadCommitted },
            TransactionScopeAsyncFlowOption.Enabled);
}
