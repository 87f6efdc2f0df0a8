using Npgsql;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Integration;

public sealed class SessionTimeoutTests
{
    // Of PostgreSQL 17; Npgsql has no name for it.
    private const string TransactionTimeout = "25P04";

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(SessionReset.Full)]
    [InlineData(SessionReset.Strict)]
    [Trait("Conformance", "105")]
    public async Task StatementTimeout_OfThePool_IsInForceOnEveryLeaseAndAgainAfterOneChangedIt(SessionReset reset)
    {
        await using var server = await PoolOnServer.CreateAsync(
            options => (options.MaxSize, options.Reset, options.StatementTimeout) = (1, reset, TimeSpan.FromMilliseconds(1234)));

        for (var round = 0; round < 4; round++)
        {
            await using var lease = await server.Pool.RentAsync(Cancellation);
            Assert.Equal("1234ms", await ShowAsync(lease));
            await lease.DoAsync(round % 2 == 0 ? "SET statement_timeout = 0" : "SET statement_timeout = 600");
        }

        await using var last = await server.Pool.RentAsync(Cancellation);
        Assert.Equal("1234ms", await ShowAsync(last));
        Assert.Equal(1, server.Snapshot.TotalOpened);
        Assert.DoesNotContain(server.Logs.Entries, entry => entry.EventId.Id == 120);
    }

    [Fact]
    [Trait("Conformance", "105")]
    public async Task StatementTimeout_RunsOut_EndsTheCommandAndKeepsTheConnection()
    {
        await using var server = await PoolOnServer.CreateAsync(
            options => (options.MaxSize, options.StatementTimeout) = (1, TimeSpan.FromMilliseconds(500)));

        for (var round = 0; round < 2; round++)
        {
            await using var lease = await server.Pool.RentAsync(Cancellation);
            var error = await Assert.ThrowsAsync<PostgresException>(() => lease.DoAsync("SELECT pg_sleep(60)"));
            Assert.Equal(PostgresErrorCodes.QueryCanceled, error.SqlState);
        }

        Assert.Equal(1, server.Snapshot.TotalOpened);
    }

    [Fact]
    [Trait("Conformance", "105")]
    public async Task OtherTimeouts_OfThePool_AreInForceBesideOptionsOfTheConnectionString()
    {
        await using var server = await PoolOnServer.CreateAsync(
            options => (options.LockTimeout, options.IdleInTransactionTimeout) = (TimeSpan.FromMilliseconds(111), TimeSpan.FromSeconds(22)),
            text => text.Options = "-c work_mem=5MB -c statement_timeout=33s");

        for (var round = 0; round < 2; round++)
        {
            await using var lease = await server.Pool.RentAsync(Cancellation);
            Assert.Equal("111ms", await lease.AskAsync<string>("SHOW lock_timeout"));
            Assert.Equal("22s", await lease.AskAsync<string>("SHOW idle_in_transaction_session_timeout"));
            Assert.Equal("33s", await ShowAsync(lease));
            Assert.Equal("5MB", await lease.AskAsync<string>("SHOW work_mem"));
            await lease.DoAsync("SET lock_timeout = 1; SET work_mem = '9MB'");
        }
    }

    [Theory]
    [InlineData(SessionReset.Full, true)]
    [InlineData(SessionReset.Full, false)]
    [InlineData(SessionReset.Strict, true)]
    [InlineData(SessionReset.Strict, false)]
    [InlineData(SessionReset.Rollback, true)]
    [InlineData(SessionReset.Rollback, false)]
    [Trait("Conformance", "105")]
    public async Task StatementTimeout_OfOneRent_IsInForceForThatLeaseAndUndoneOnItsReturn(SessionReset reset, bool blocking)
    {
        await using var server = await PoolOnServer.CreateAsync(
            options => (options.MaxSize, options.Reset, options.StatementTimeout) = (1, reset, TimeSpan.FromMilliseconds(1234)));
        var own = new RentOptions { StatementTimeout = TimeSpan.FromMilliseconds(777) };

        for (var round = 0; round < 2; round++)
        {
            var lease = blocking ? server.Pool.Rent(own) : await server.Pool.RentAsync(own, Cancellation);
            Assert.Equal("777ms", await ShowAsync(lease));
            await ReturnAsync(lease, blocking);

            await using var plain = await server.Pool.RentAsync(Cancellation);
            Assert.Equal("1234ms", await ShowAsync(plain));
        }

        Assert.Equal(1, server.Snapshot.TotalOpened);
    }

    [Theory]
    [InlineData(SessionReset.Full)]
    [InlineData(SessionReset.Strict)]
    [InlineData(SessionReset.Rollback)]
    [Trait("Conformance", "105")]
    public async Task StatementTimeout_OfOneRentWhoseTransactionFailed_IsUndoneAllTheSame(SessionReset reset)
    {
        await using var server = await PoolOnServer.CreateAsync(
            options => (options.MaxSize, options.Reset, options.StatementTimeout) = (1, reset, TimeSpan.FromMilliseconds(1234)));
        var own = new RentOptions { StatementTimeout = TimeSpan.FromMilliseconds(777) };
        await using (var lease = await server.Pool.RentAsync(own, Cancellation))
        {
            await lease.DoAsync("BEGIN");
            await Assert.ThrowsAsync<PostgresException>(() => lease.DoAsync("SELECT 1 / 0"));
        }

        await using var next = await server.Pool.RentAsync(Cancellation);

        Assert.Equal("1234ms", await ShowAsync(next));
        Assert.Equal(1, server.Snapshot.TotalOpened);
    }

    [Fact]
    public async Task StatementTimeout_OfOneRentInRollbackMode_LeftOpenTransactionIsStillLogged()
    {
        await using var server = await PoolOnServer.CreateAsync(options => (options.MaxSize, options.Reset) = (1, SessionReset.Rollback));
        await using (var lease = await server.Pool.RentAsync(new RentOptions { StatementTimeout = TimeSpan.FromSeconds(5) }, Cancellation))
        {
            _ = await lease.BeginTransactionAsync(cancellationToken: Cancellation);
        }

        Assert.Single(server.Logs.Entries, entry => entry.EventId.Id == 110);
    }

    [Fact]
    public async Task TransactionTimeout_OfThePool_IsInForceOrRefusedByAServerThatIsTooOld()
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.TransactionTimeout = TimeSpan.FromSeconds(7));

        if (!await HasTransactionTimeoutAsync())
        {
            await AssertRefusedAsync(server);
            return;
        }

        await using var lease = await server.Pool.RentAsync(Cancellation);
        Assert.Equal("7s", await lease.AskAsync<string>("SHOW transaction_timeout"));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task TransactionTimeout_RunsOut_EndsThatSessionAndTheNextLeaseIsWellOrAServerThatIsTooOldRefuses(bool isBusy)
    {
        await using var server = await PoolOnServer.CreateAsync(
            options => (options.MaxSize, options.TransactionTimeout) = (1, TimeSpan.FromMilliseconds(300)));
        if (!await HasTransactionTimeoutAsync())
        {
            await AssertRefusedAsync(server);
            return;
        }

        await using (var lease = await server.Pool.RentAsync(Cancellation))
        {
            var session = lease.Session();
            await using var transaction = await lease.BeginTransactionAsync(cancellationToken: Cancellation);
            await lease.DoAsync("SELECT 1");
            var running = isBusy ? lease.DoAsync("SELECT pg_sleep(60)") : Task.CompletedTask;
            await Eventually.True(async () => await server.ActivityAsync(session) == "gone", "the server has ended the session");
            var error = await Assert.ThrowsAnyAsync<NpgsqlException>(() => isBusy ? running : lease.DoAsync("SELECT 1"));
            Assert.Equal(TransactionTimeout, (error as PostgresException)?.SqlState);
        }

        await using var next = await server.Pool.RentAsync(Cancellation);
        Assert.Equal("300ms", await next.AskAsync<string>("SHOW transaction_timeout"));
        Assert.Equal(2, server.Snapshot.TotalOpened);
    }

    [Fact]
    public async Task TransactionTimeout_OfThePool_LeavesLeasesOutsideOfTransactionsAlone()
    {
        await using var server = await PoolOnServer.CreateAsync(
            options => (options.MaxSize, options.TransactionTimeout) = (1, TimeSpan.FromMilliseconds(300)));
        if (!await HasTransactionTimeoutAsync())
        {
            await AssertRefusedAsync(server);
            return;
        }

        await using var lease = await server.Pool.RentAsync(Cancellation);
        for (var i = 0; i < 8; i++)
        {
            await lease.DoAsync("SELECT pg_sleep(0.1)");
        }

        Assert.Equal(1, server.Snapshot.TotalOpened);
    }

    [Fact]
    public async Task StatementTimeout_AStartupOptionThatIsOverruled_IsWarnedAboutOnce()
    {
        await using var server = await PoolOnServer.CreateAsync(
            options =>
            {
                options.StatementTimeout = TimeSpan.FromMilliseconds(1234);

                // As a pooler would: the option in the start-up packet is dropped before the server reads it.
                options.ConfigureDataSource = source => source.ConnectionStringBuilder.Options = null;
            });

        var leases = await server.Pool.RentAsync(1, Cancellation);
        await leases.ReturnAllAsync();
        await server.Pool.FillAsync(3, Cancellation);

        var warning = Assert.Single(server.Logs.Entries, entry => entry.EventId.Id == 120);
        Assert.Contains("statement_timeout", warning.Message, StringComparison.Ordinal);
        Assert.Contains("1234 ms", warning.Message, StringComparison.Ordinal);
        Assert.Contains("ALTER ROLE", warning.Message, StringComparison.Ordinal);
    }

    private static async Task<bool> HasTransactionTimeoutAsync()
        => await (await Outside.OfSharedServerAsync()).AskAsync<bool>("SELECT current_setting('server_version_num')::int >= 170000");

    private static async Task AssertRefusedAsync(PoolOnServer server)
    {
        var refused = await Assert.ThrowsAsync<PostgresException>(async () =>
        {
            await using var lease = await server.Pool.RentAsync(Cancellation);
        });
        Assert.Equal(PostgresErrorCodes.UndefinedObject, refused.SqlState);
    }

    private static Task<string> ShowAsync(Lease lease) => lease.AskAsync<string>("SHOW statement_timeout");

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
