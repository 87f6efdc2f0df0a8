using Npgsql;

namespace SafePool.Benchmarks.Contests;

/// <summary>What is done with a connection before it goes back.</summary>
internal enum Hold
{
    /// <summary>Nothing: there is only the pool's own cost.</summary>
    Nothing,

    /// <summary>The thread is given up once, as every command does.</summary>
    Yield,

    /// <summary>50 µs of a processor.</summary>
    Spin,

    /// <summary>A round trip to the server.</summary>
    Select1,

    /// <summary>A small read-write transaction: four round trips.</summary>
    Transaction,
}

internal static class Holds
{
    private static readonly long _spin = TimeProvider.System.TimestampFrequency / 20_000;

    public static async ValueTask UseAsync(this NpgsqlConnection connection, Hold hold)
    {
        switch (hold)
        {
            case Hold.Yield:
                await Task.Yield();
                break;
            case Hold.Spin:
                for (var begun = TimeProvider.System.GetTimestamp(); TimeProvider.System.GetTimestamp() - begun < _spin;)
                {
                    Thread.SpinWait(10);
                }

                break;
            case Hold.Select1:
                await using (var command = new NpgsqlCommand("SELECT 1", connection))
                {
                    await command.ExecuteScalarAsync();
                }

                break;
            case Hold.Transaction:
                await TransactAsync(connection);
                break;
        }
    }

    private static async Task TransactAsync(NpgsqlConnection connection)
    {
        await using var transaction = await connection.BeginTransactionAsync();
        var account = Random.Shared.Next(Arena.Accounts);
        await using var read = new NpgsqlCommand("SELECT balance FROM accounts WHERE id = $1", connection, transaction) { Parameters = { new() { Value = account } } };
        var balance = (long)(await read.ExecuteScalarAsync())!;
        await using var write = new NpgsqlCommand("UPDATE accounts SET balance = $2 WHERE id = $1", connection, transaction)
        {
            Parameters = { new() { Value = account }, new() { Value = balance + 1 } },
        };
        await write.ExecuteNonQueryAsync();
        await transaction.CommitAsync();
    }
}
