using Npgsql;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Integration;

public sealed class OpenTransactionTests
{
    private const int RolledBack = 110;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(true, true)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    [InlineData(false, false)]
    [Trait("Conformance", "37")]
    public async Task Return_TransactionLeftOpen_IsRolledBackAndLogged(bool begunBlocking, bool returnedBlocking)
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1);
        var table = await CreateTableAsync();
        var lease = await server.Pool.RentAsync(Cancellation);
        var session = lease.Session();
        _ = begunBlocking ? lease.BeginTransaction() : await lease.BeginTransactionAsync(cancellationToken: Cancellation);
        await lease.DoAsync($"INSERT INTO {table} VALUES (1)");

        await ReturnAsync(lease, returnedBlocking);

        await AssertRolledBackAsync(server, session, table);
    }

    [Fact]
    [Trait("Conformance", "37")]
    public async Task ReturnAsync_TransactionBegunInSql_IsRolledBackAndLogged()
    {
        await using var proxy = TcpProxy.Start(await Outside.SharedServerAsync());
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1, proxy: proxy);
        var table = await CreateTableAsync();
        var lease = await server.Pool.RentAsync(Cancellation);
        var session = lease.Session();
        await lease.DoAsync($"BEGIN; INSERT INTO {table} VALUES (1)");

        // Only the time that the rollback takes tells the pool of a transaction that it did not begin.
        proxy.Delay = TimeSpan.FromMilliseconds(20);
        await lease.DisposeAsync();

        await AssertRolledBackAsync(server, session, table);
    }

    [Fact]
    [Trait("Conformance", "37")]
    public async Task ReturnAsync_TransactionLeftOpenManyTimes_IsLoggedEveryTimeHoweverFastTheServerAnswers()
    {
        const int Rounds = 200;
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 4);

        await Task.WhenAll(Enumerable.Range(0, Rounds).Select(i => Task.Run(
            async () =>
            {
                await using var lease = await server.Pool.RentAsync(Cancellation);
                _ = await lease.BeginTransactionAsync(cancellationToken: Cancellation);
                await lease.DoAsync("SELECT 1");
            },
            Cancellation)));

        Assert.Equal(Rounds, server.Logs.Entries.Count(entry => entry.EventId.Id == RolledBack));
    }

    [Fact]
    [Trait("Conformance", "37")]
    public async Task Return_TransactionBegunInSql_IsRolledBackWhenTheCallerBlocksToo()
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1);
        var table = await CreateTableAsync();
        var lease = await server.Pool.RentAsync(Cancellation);
        var session = lease.Session();
        lease.Do($"BEGIN; INSERT INTO {table} VALUES (1)");

        lease.Dispose();

        Assert.Equal("idle", await server.ActivityAsync(session));
        Assert.Equal(0, await CountAsync(table));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    [Trait("Conformance", "38")]
    public async Task Return_FailedTransaction_IsRolledBackAndLogged(bool blocking)
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1);
        var table = await CreateTableAsync();
        var lease = await server.Pool.RentAsync(Cancellation);
        var session = lease.Session();
        _ = lease.BeginTransaction();
        await lease.DoAsync($"INSERT INTO {table} VALUES (1)");
        await Assert.ThrowsAsync<PostgresException>(() => lease.DoAsync("SELECT 1 / 0"));

        await ReturnAsync(lease, blocking);

        await AssertRolledBackAsync(server, session, table);
    }

    [Theory]
    [InlineData(SessionReset.Full)]
    [InlineData(SessionReset.Strict)]
    [InlineData(SessionReset.Rollback)]
    [Trait("Conformance", "37")]
    [Trait("Conformance", "38")]
    public async Task ReturnAsync_FailedTransactionInAnyResetMode_KeepsTheConnectionForTheNext(SessionReset reset)
    {
        await using var server = await PoolOnServer.CreateAsync(options => (options.MaxSize, options.Reset) = (1, reset));
        var table = await CreateTableAsync();
        var lease = await server.Pool.RentAsync(Cancellation);
        var session = lease.Session();
        _ = await lease.BeginTransactionAsync(cancellationToken: Cancellation);
        await lease.DoAsync($"INSERT INTO {table} VALUES (1)");
        await Assert.ThrowsAsync<PostgresException>(() => lease.DoAsync("SELECT 1 / 0"));

        await lease.DisposeAsync();

        await AssertRolledBackAsync(server, session, table);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Return_CommittedTransaction_SaysNothing(bool blocking)
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1);
        var table = await CreateTableAsync();
        var lease = await server.Pool.RentAsync(Cancellation);
        await using (var transaction = await lease.BeginTransactionAsync(cancellationToken: Cancellation))
        {
            await lease.DoAsync($"INSERT INTO {table} VALUES (1)");
            await transaction.CommitAsync(Cancellation);
        }

        await ReturnAsync(lease, blocking);

        Assert.Empty(server.Logs.Entries);
        Assert.Equal(1, await CountAsync(table));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    [Trait("Conformance", "39")]
    public async Task Return_ServerDiesBeforeTheRollback_ClosesTheConnectionAndFreesThePlace(bool blocking)
    {
        await using var proxy = TcpProxy.Start(await Outside.SharedServerAsync());
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1, proxy: proxy);
        var lease = await server.Pool.RentAsync(Cancellation);
        var session = lease.Session();
        _ = await lease.BeginTransactionAsync(cancellationToken: Cancellation);
        await lease.DoAsync("SELECT 1");
        proxy.ResetAll();

        await ReturnAsync(lease, blocking);

        Assert.Equal((0, 0), (server.Snapshot.Leased, server.Snapshot.Idle));
        await using var next = await server.Pool.RentAsync(Cancellation);
        Assert.NotEqual(session, await next.AskAsync<int>("SELECT pg_backend_pid()"));
        Assert.Equal((2L, 1L), (server.Snapshot.TotalOpened, server.Snapshot.TotalClosed));
    }

    [Fact]
    [Trait("Conformance", "106")]
    public async Task Lease_KilledByIdleInTransactionTimeout_IsBrokenAndCommitsNothing()
    {
        await using var server = await PoolOnServer.CreateAsync(
            options => (options.MaxSize, options.IdleInTransactionTimeout) = (1, TimeSpan.FromMilliseconds(100)));
        var table = await CreateTableAsync();
        var lease = await server.Pool.RentAsync(Cancellation);
        var session = lease.Session();
        var transaction = await lease.BeginTransactionAsync(cancellationToken: Cancellation);
        await lease.DoAsync($"INSERT INTO {table} VALUES (1)");
        await Eventually.True(async () => await server.ActivityAsync(session) == "gone", "the server has ended the session");

        await Assert.ThrowsAnyAsync<NpgsqlException>(() => lease.DoAsync($"INSERT INTO {table} VALUES (2)"));
        await Assert.ThrowsAnyAsync<Exception>(() => lease.DoAsync($"INSERT INTO {table} VALUES (3)"));
        await Assert.ThrowsAnyAsync<Exception>(() => transaction.CommitAsync(Cancellation));
        await lease.DisposeAsync();

        Assert.Equal(0, await CountAsync(table));
        await using var next = await server.Pool.RentAsync(Cancellation);
        Assert.NotEqual(session, next.Session());
    }

    private static async Task AssertRolledBackAsync(PoolOnServer server, int session, string table)
    {
        Assert.Equal("idle", await server.ActivityAsync(session));
        var entry = Assert.Single(server.Logs.Entries, entry => entry.EventId.Id == RolledBack);
        Assert.Contains($"{nameof(OpenTransactionTests)}.cs:", entry.Message, StringComparison.Ordinal);
        await using var next = await server.Pool.RentAsync(Cancellation);
        Assert.Equal(session, next.Session());
        Assert.Equal(0L, await next.AskAsync<long>($"SELECT count(*) FROM {table}"));
        Assert.Equal(1, server.Snapshot.TotalOpened);
    }

    private static async Task<string> CreateTableAsync()
    {
        var table = $"t_{Guid.NewGuid():N}";
        return await (await Outside.OfSharedServerAsync()).AskAsync<string>($"CREATE TABLE {table} (id int); SELECT '{table}'");
    }

    private static async Task<long> CountAsync(string table)
        => await (await Outside.OfSharedServerAsync()).AskAsync<long>($"SELECT count(*) FROM {table}");

    private static async Task ReturnAsync(Lease lease, bool blocking)
    {
        if (blocking)
        {
            lease.Dispose();
        }
        else
        {
            await lease.DisposeAsync();
        }
    }
}
