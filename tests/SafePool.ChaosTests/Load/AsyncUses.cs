using Npgsql;
using SafePool.ChaosTests.Invariants;

namespace SafePool.ChaosTests.Load;

/// <summary>What asynchronous callers do with a session, good manners and bad. Whatever is left undone is the return's to deal with.</summary>
internal sealed class AsyncUses(Random random, Round round)
{
    private delegate Task Use(Session session, CancellationToken cancellationToken);

    public async Task UseAsync(Session session, CancellationToken cancellationToken)
    {
        await Question.AskAsync(session, round.Resets, cancellationToken);
        var use = Draw(session.Lease is not null);
        round.Journal.Count($"use {use.Method.Name}");
        session.Use = use.Method.Name;
        await use(session, cancellationToken);
    }

    private Use Draw(bool isLease) => random.Next(isLease ? 18 : 13) switch
    {
        0 => SleepAsync,
        1 => TransactAsync,
        2 => LeaveInTransactionAsync,
        3 => LeaveTraceAsync,
        4 => ReadAllAsync,
        5 => StopReadingAsync,
        6 => RunBatchAsync,
        7 => CopyInAsync,
        8 => LeaveCopyInAsync,
        9 => CopyOutAsync,
        10 => FailAsync,
        13 => LeaveReaderAsync,
        14 => LeaveCommandAsync,
        15 => CancelAsync,
        16 => CloseAsync,
        _ => AskAgainAsync,
    };

    private Task AskAgainAsync(Session session, CancellationToken cancellationToken)
        => Question.AskAsync(session, isReset: false, cancellationToken);

    private Task SleepAsync(Session session, CancellationToken cancellationToken)
        => DoAsync(session, $"SELECT pg_sleep({random.Next(1, 400)} / 1000.0)", cancellationToken);

    private async Task TransactAsync(Session session, CancellationToken cancellationToken)
    {
        await using var transaction = await session.Connection.BeginTransactionAsync(cancellationToken);
        await DoAsync(session, "CREATE TEMP TABLE basket (id int) ON COMMIT DROP; INSERT INTO basket SELECT generate_series(1, 10)", cancellationToken);
        await PauseAsync(20);
        if (random.Percent(60))
        {
            await transaction.CommitAsync(cancellationToken);
        }
    }

    private async Task LeaveInTransactionAsync(Session session, CancellationToken cancellationToken)
    {
        if (random.Percent(50))
        {
            _ = await session.Connection.BeginTransactionAsync(cancellationToken);
            await DoAsync(session, "CREATE TEMP TABLE basket (id int)", cancellationToken);
        }
        else
        {
            await DoAsync(session, "BEGIN; CREATE TEMP TABLE basket (id int)", cancellationToken);
        }
    }

    private Task LeaveTraceAsync(Session session, CancellationToken cancellationToken) => DoAsync(session, Question.Trace, cancellationToken);

    private Task ReadAllAsync(Session session, CancellationToken cancellationToken) => ReadAsync(session, rows: 2000, most: int.MaxValue, cancellationToken);

    private Task StopReadingAsync(Session session, CancellationToken cancellationToken)
        => ReadAsync(session, rows: 20_000, random.Next(10_000), cancellationToken);

    private async Task ReadAsync(Session session, int rows, int most, CancellationToken cancellationToken)
    {
        await using var command = session.CreateCommand($"SELECT i, repeat('x', 100) FROM generate_series(1, {rows}) i");
        await using var reader = await command.ExecuteReaderAsync(cancellationToken);
        for (var row = 1; row < most && await reader.ReadAsync(cancellationToken); row++)
        {
            if (reader.GetInt32(0) != row)
            {
                throw new WrongAnswerException($"row {row} was {reader.GetInt32(0)}");
            }
        }
    }

    private async Task RunBatchAsync(Session session, CancellationToken cancellationToken)
    {
        await using var batch = session.CreateBatch();
        batch.BatchCommands.Add(new NpgsqlBatchCommand("SELECT 1"));
        batch.BatchCommands.Add(new NpgsqlBatchCommand($"SELECT pg_sleep({random.Next(50)} / 1000.0)"));
        batch.BatchCommands.Add(new NpgsqlBatchCommand(random.Percent(20) ? "SELECT 1 / 0" : "SELECT generate_series(1, 1000)"));
        await using var reader = await batch.ExecuteReaderAsync(cancellationToken);
        do
        {
            while (await reader.ReadAsync(cancellationToken))
            {
                _ = reader.GetValue(0);
            }
        }
        while (random.Percent(90) && await reader.NextResultAsync(cancellationToken));
    }

    private async Task CopyInAsync(Session session, CancellationToken cancellationToken)
    {
        await DoAsync(session, "CREATE TEMP TABLE IF NOT EXISTS goods (id int)", cancellationToken);
        await using var import = await session.Connection.BeginBinaryImportAsync("COPY goods FROM STDIN BINARY", cancellationToken);
        await WriteAsync(import, cancellationToken);
        if (random.Percent(60))
        {
            await import.CompleteAsync(cancellationToken);
        }
    }

    private async Task LeaveCopyInAsync(Session session, CancellationToken cancellationToken)
    {
        await DoAsync(session, "CREATE TEMP TABLE IF NOT EXISTS goods (id int)", cancellationToken);
        await WriteAsync(await session.Connection.BeginBinaryImportAsync("COPY goods FROM STDIN BINARY", cancellationToken), cancellationToken);
    }

    private async Task WriteAsync(NpgsqlBinaryImporter import, CancellationToken cancellationToken)
    {
        for (var row = random.Next(3000); row >= 0; row--)
        {
            await import.StartRowAsync(cancellationToken);
            await import.WriteAsync(row, cancellationToken);
            if (row % 1000 == 0)
            {
                await PauseAsync(100);
            }
        }
    }

    private async Task CopyOutAsync(Session session, CancellationToken cancellationToken)
    {
        const string Copy = "COPY (SELECT i, repeat('x', 100) FROM generate_series(1, 20000) i) TO STDOUT";
        using var export = await session.Connection.BeginTextExportAsync(Copy, cancellationToken);
        for (var lines = random.Next(20_000); lines > 0 && await export.ReadLineAsync(cancellationToken) is not null; lines--)
        {
        }
    }

    private Task FailAsync(Session session, CancellationToken cancellationToken) => DoAsync(session, "SELECT 1 / 0", cancellationToken);

    private async Task LeaveReaderAsync(Session session, CancellationToken cancellationToken)
    {
        var reader = await session.CreateCommand("SELECT generate_series(1, 1000000)").ExecuteReaderAsync(cancellationToken);
        await reader.ReadAsync(cancellationToken);
    }

    /// <summary>The lease goes back while a command runs on it: nobody may lose the connection, and the command ends.</summary>
    private async Task LeaveCommandAsync(Session session, CancellationToken cancellationToken)
    {
        round.Stragglers.Add(session.CreateCommand("SELECT pg_sleep(3)").ExecuteNonQueryAsync(CancellationToken.None));
        await PauseAsync(20);
    }

    private async Task CancelAsync(Session session, CancellationToken cancellationToken)
    {
        await using var command = session.CreateCommand("SELECT pg_sleep(1)");
        var running = command.ExecuteNonQueryAsync(cancellationToken);
        await PauseAsync(50);
        await Task.Factory.StartNew(session.Lease!.Value.Cancel, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        await running;
    }

    private Task CloseAsync(Session session, CancellationToken cancellationToken)
    {
        // From then on it may be in other hands, though the place is not.
        round.Occupancy.Leave(session.Connection.PostgresParameters);
        return session.Connection.CloseAsync();
    }

    private async Task DoAsync(Session session, string sql, CancellationToken cancellationToken)
    {
        await using var command = session.CreateCommand(sql);
        await command.ExecuteNonQueryAsync(cancellationToken);
    }

    private Task PauseAsync(int longest)
        => Task.Delay(TimeSpan.FromMilliseconds(random.Next(longest)), TimeProvider.System, CancellationToken.None);
}
