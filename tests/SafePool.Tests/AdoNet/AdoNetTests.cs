using Npgsql;
using NpgsqlTypes;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.AdoNet;

/// <summary>What code written for <c>NpgsqlDataSource.OpenConnectionAsync</c> does with a connection works with one of the pool, and the next user gets a clean one.</summary>
public sealed class AdoNetTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Copy_InAndOut_AsTextAndBinary(bool blocking)
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1);
        await using (var connection = blocking ? server.Pool.OpenConnection() : await server.Pool.OpenConnectionAsync(Cancellation))
        {
            await connection.DoAsync("CREATE TEMP TABLE rows (id int, word text)");
            await using (var text = await connection.BeginTextImportAsync("COPY rows FROM STDIN", Cancellation))
            {
                await text.WriteAsync("1\tone\n2\ttwo\n");
            }

            await using (var binary = await connection.BeginBinaryImportAsync("COPY rows FROM STDIN (FORMAT binary)", Cancellation))
            {
                await binary.StartRowAsync(Cancellation);
                await binary.WriteAsync(3, NpgsqlDbType.Integer, Cancellation);
                await binary.WriteAsync("three", Cancellation);
                Assert.Equal(1ul, await binary.CompleteAsync(Cancellation));
            }

            // Not completed, so it is undone.
            await using (var given = await connection.BeginBinaryImportAsync("COPY rows FROM STDIN (FORMAT binary)", Cancellation))
            {
                await given.WriteRowAsync(Cancellation, 4, "four");
            }

            using (var reader = await connection.BeginTextExportAsync("COPY (SELECT * FROM rows ORDER BY id) TO STDOUT", Cancellation))
            {
                Assert.Equal("1\tone\n2\ttwo\n3\tthree\n", await reader.ReadToEndAsync(Cancellation));
            }

            await using var export = await connection.BeginBinaryExportAsync("COPY (SELECT id FROM rows ORDER BY id) TO STDOUT (FORMAT binary)", Cancellation);
            var sum = 0;
            while (await export.StartRowAsync(Cancellation) != -1)
            {
                sum += await export.ReadAsync<int>(Cancellation);
            }

            Assert.Equal(6, sum);
        }

        await NextIsCleanAsync(server);
    }

    [Fact]
    public async Task Copy_LeftOpenInADropInConnection_CommitsNothingAndTheNextIsClean()
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1);
        var connection = await server.Pool.OpenConnectionAsync(Cancellation);
        await connection.DoAsync("DROP TABLE IF EXISTS copied; CREATE TABLE copied (word text)");
        var import = await connection.BeginTextImportAsync("COPY copied FROM STDIN", Cancellation);
        await import.WriteAsync("half\n");

        await Record.ExceptionAsync(async () => await connection.DisposeAsync());

        await NextIsCleanAsync(server);
        await using var next = await server.Pool.RentAsync(Cancellation);
        Assert.Equal(0, await next.AskAsync<long>("SELECT count(*) FROM copied"));
        await next.DoAsync("DROP TABLE copied");
    }

    [Theory]
    [InlineData(SessionReset.Full)]
    [InlineData(SessionReset.Strict)]
    public async Task Notifications_ReachTheLeaseThatListensAndNotTheNext(SessionReset reset)
    {
        await using var server = await PoolOnServer.CreateAsync(options => (options.MaxSize, options.Reset) = (1, reset));
        var channel = $"c{Guid.NewGuid():N}";
        var (heard, heardByNext) = (new List<string>(), new List<string>());
        int session;
        await using (var lease = await server.Pool.RentAsync(Cancellation))
        {
            session = lease.Session();
            lease.Connection.Notification += (_, news) => heard.Add(news.Payload);
            await lease.DoAsync($"LISTEN {channel}");
            await server.AskAsync<string>($"SELECT pg_notify('{channel}', 'first')::text");
            await lease.Connection.WaitAsync(Cancellation);
            Assert.Equal(["first"], heard);
        }

        await using (var next = await server.Pool.RentAsync(Cancellation))
        {
            Assert.Equal(session, next.Session());
            next.Connection.Notification += (_, news) => heardByNext.Add(news.Payload);
            await next.DoAsync("SELECT 1");
            await server.AskAsync<string>($"SELECT pg_notify('{channel}', 'second')::text");
            Assert.False(await next.Connection.WaitAsync(TimeSpan.FromMilliseconds(50), Cancellation));
            Assert.Equal(0, await next.AskAsync<long>("SELECT count(*) FROM pg_listening_channels()"));
        }

        Assert.Equal(["first"], heard);
        Assert.Empty(heardByNext);
    }

    [Fact]
    public async Task LargeObject_ThroughFunctionsInATransaction_IsWrittenAndRead()
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1);
        var content = new byte[100_000];
        new Random(1).NextBytes(content);
        uint id;
        await using (var lease = await server.Pool.RentAsync(Cancellation))
        {
            await using var transaction = await lease.BeginTransactionAsync(cancellationToken: Cancellation);
            id = await lease.AskAsync<uint>("SELECT lo_create(0)");
            var descriptor = await lease.AskAsync<int>($"SELECT lo_open({id}, {0x20000})");
            await using var write = lease.CreateCommand($"SELECT lowrite({descriptor}, $1)");
            write.Parameters.Add(new NpgsqlParameter { Value = content });
            Assert.Equal(content.Length, await write.ExecuteScalarAsync(Cancellation));
            await transaction.CommitAsync(Cancellation);
        }

        await using (var lease = await server.Pool.RentAsync(Cancellation))
        {
            Assert.Equal(content, await lease.AskAsync<byte[]>($"SELECT lo_get({id})"));
            Assert.Equal(1, await lease.AskAsync<int>($"SELECT lo_unlink({id})"));
        }

        await NextIsCleanAsync(server);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Batch_SeveralResultSets_AreReadInOrder(bool madeByLease)
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1);
        await using (var lease = await server.Pool.RentAsync(Cancellation))
        {
            await using var batch = madeByLease ? lease.CreateBatch() : new NpgsqlBatch(lease.Connection);
            batch.BatchCommands.Add(new NpgsqlBatchCommand("SELECT 1"));
            batch.BatchCommands.Add(new NpgsqlBatchCommand("SELECT $1 UNION ALL SELECT 3 ORDER BY 1") { Parameters = { new NpgsqlParameter { Value = 2 } } });
            batch.BatchCommands.Add(new NpgsqlBatchCommand("SELECT 4 WHERE false"));
            await using var reader = await batch.ExecuteReaderAsync(Cancellation);
            var seen = new List<int>();
            var sets = 0;
            do
            {
                sets++;
                while (await reader.ReadAsync(Cancellation))
                {
                    seen.Add(reader.GetInt32(0));
                }
            }
            while (await reader.NextResultAsync(Cancellation));

            Assert.Equal((3, "1,2,3"), (sets, string.Join(',', seen)));
        }

        await NextIsCleanAsync(server);
    }

    [Fact]
    public async Task Batch_OneOfItsCommandsFails_NoneIsCommitted()
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1);
        await using (var lease = await server.Pool.RentAsync(Cancellation))
        {
            await lease.DoAsync("CREATE TEMP TABLE batched (x int)");
            await using var batch = lease.CreateBatch();
            batch.BatchCommands.Add(new NpgsqlBatchCommand("INSERT INTO batched VALUES (1)"));
            batch.BatchCommands.Add(new NpgsqlBatchCommand("SELECT 1 / 0"));
            await Assert.ThrowsAsync<PostgresException>(() => batch.ExecuteNonQueryAsync(Cancellation));
            Assert.Equal(0, await lease.AskAsync<long>("SELECT count(*) FROM batched"));
        }

        await NextIsCleanAsync(server);
    }

    [Theory]
    [InlineData(true, true)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    [InlineData(false, false)]
    public async Task PreparedStatement_ExplicitOrAutomatic_IsUsedAgainByTheNextLease(bool automatic, bool dropIn)
    {
        const string Sql = "SELECT $1 + 41";
        await using var server = await PoolOnServer.CreateAsync(
            options => options.MaxSize = 1, text => (text.MaxAutoPrepare, text.AutoPrepareMinUsages) = automatic ? (10, 2) : (0, 5));
        var sessions = new HashSet<int>();
        var statements = new HashSet<string>();
        for (var round = 0; round < 4; round++)
        {
            await using var connection = dropIn ? await server.Pool.OpenConnectionAsync(Cancellation) : null;
            await using var lease = dropIn ? default : await server.Pool.RentAsync(Cancellation);
            var user = connection ?? lease.Connection;
            for (var use = 0; use < 2; use++)
            {
                await using var command = new NpgsqlCommand(Sql, user) { Parameters = { new NpgsqlParameter { Value = 1 } } };
                if (!automatic)
                {
                    await command.PrepareAsync(Cancellation);
                }

                Assert.Equal(42, await command.ExecuteScalarAsync(Cancellation));
            }

            sessions.Add(user.ProcessID);
            statements.Add(await user.AskAsync<string>(
                $"SELECT string_agg(name || ' ' || prepare_time, ',') FROM pg_prepared_statements WHERE statement = '{Sql}'"));
        }

        // One session, in which it was prepared once: by name and time.
        Assert.Single(sessions);
        Assert.Single(statements);
    }

    [Fact]
    public async Task Cancellation_OfACommand_LeavesTheLeaseUsable()
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1);
        await using (var lease = await server.Pool.RentAsync(Cancellation))
        {
            using var impatience = new CancellationTokenSource();
            await using var command = lease.CreateCommand("SELECT pg_sleep(60)");
            var running = command.ExecuteNonQueryAsync(impatience.Token);
            await Eventually.True(async () => await server.ActivityAsync(lease.Connection.ProcessID) == "active", "it runs");
            await impatience.CancelAsync();

            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => running);
            Assert.Equal(1, await lease.AskAsync<int>("SELECT 1"));
        }

        await NextIsCleanAsync(server);
    }

    private static async Task NextIsCleanAsync(PoolOnServer server)
    {
        await Outstanding.NoneAsync(server.Pool);
        await using var next = await server.Pool.RentAsync(Cancellation);
        Assert.Equal(1, await next.AskAsync<int>("SELECT 1"));
        Assert.Equal(0, await next.AskAsync<long>("SELECT count(*) FROM pg_class WHERE relpersistence = 't' AND relnamespace = pg_my_temp_schema()"));
        Assert.Equal((1, 1), (server.Snapshot.Leased, (int)server.Snapshot.TotalOpened));
    }
}
