using Npgsql;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Integration;

public sealed class SessionResetTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(SessionReset.Full, true)]
    [InlineData(SessionReset.Full, false)]
    [InlineData(SessionReset.Strict, true)]
    [InlineData(SessionReset.Strict, false)]
    [Trait("Conformance", "41")]
    public async Task Return_OfALeaseThatLeftStateBehind_HidesAllOfItFromTheNext(SessionReset reset, bool blocking)
    {
        await using var server = await CreateAsync(reset);
        var session = await LitterAsync(server, blocking);

        await using var next = await server.Pool.RentAsync(Cancellation);

        Assert.Equal(session, next.Session());
        Assert.Equal("4MB", await next.AskAsync<string>("SHOW work_mem"));
        Assert.Equal("postgres", await next.AskAsync<string>("SELECT current_user::text"));
        Assert.True(await next.AskAsync<bool>("SELECT to_regclass('pg_temp.litter') IS NULL"));
        Assert.Equal(0L, await next.AskAsync<long>("SELECT count(*) FROM pg_listening_channels()"));
        Assert.Equal(0L, await next.AskAsync<long>($"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = {session}"));
        Assert.Equal(0L, await next.AskAsync<long>("SELECT count(*) FROM pg_cursors WHERE name = 'left_open'"));
    }

    [Fact]
    [Trait("Conformance", "41")]
    public async Task ReturnAsync_StrictReset_DropsWhatSqlPrepared()
    {
        await using var server = await CreateAsync(SessionReset.Strict);
        await using (var lease = await server.Pool.RentAsync(Cancellation))
        {
            await PrepareAsync(lease);
        }

        await using var next = await server.Pool.RentAsync(Cancellation);

        Assert.Equal(0L, await next.AskAsync<long>("SELECT count(*) FROM pg_prepared_statements"));
        Assert.Equal(1, server.Snapshot.TotalOpened);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    [Trait("Conformance", "41")]
    public async Task Return_StrictResetWithAReaderLeftOpen_DropsWhatWasPrepared(bool blocking)
    {
        await using var server = await CreateAsync(SessionReset.Strict);
        var lease = await server.Pool.RentAsync(Cancellation);
        await PrepareAsync(lease);
        // So short that the server has sent all of it: there is nothing left to cancel, and the close of the reader ends well.
        await using var command = lease.CreateCommand("SELECT generate_series(1, 3)");
        await command.ExecuteReaderAsync(Cancellation);

        await ReturnAsync(lease, blocking);

        await using var next = await server.Pool.RentAsync(Cancellation);
        Assert.Equal(0L, await next.AskAsync<long>("SELECT count(*) FROM pg_prepared_statements"));
        Assert.Equal(1, server.Snapshot.TotalOpened);
    }

    [Fact]
    [Trait("Conformance", "41")]
    public async Task ReturnAsync_StrictResetAfterTheUserClosedTheConnection_DropsWhatWasPrepared()
    {
        await using var server = await CreateAsync(SessionReset.Strict);
        await using (var lease = await server.Pool.RentAsync(Cancellation))
        {
            await PrepareAsync(lease);
            await lease.Connection.CloseAsync();
        }

        await using var next = await server.Pool.RentAsync(Cancellation);

        Assert.Equal(0L, await next.AskAsync<long>("SELECT count(*) FROM pg_prepared_statements"));
        Assert.Equal(1, server.Snapshot.TotalOpened);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    [Trait("Conformance", "41")]
    public async Task Return_StrictReset_EndsLocksAndListeningAtOnceAndNotWithTheNextCommand(bool blocking)
    {
        await using var server = await CreateAsync(SessionReset.Strict);
        var outside = await Outside.OfSharedServerAsync();
        var lease = await server.Pool.RentAsync(Cancellation);
        var session = lease.Session();
        await lease.DoAsync($"BEGIN; SELECT pg_advisory_lock({session}); LISTEN litter; COMMIT; BEGIN");

        await ReturnAsync(lease, blocking);

        Assert.True(await outside.AskAsync<bool>($"SELECT pg_try_advisory_lock({session})"));
        await outside.DoAsync("NOTIFY litter");
        await using var next = await server.Pool.RentAsync(Cancellation);
        next.Connection.Notification += (_, _) => Assert.Fail("A notification that was meant for another lease.");
        Assert.Equal(session, await next.AskAsync<int>("SELECT pg_backend_pid()"));
    }

    [Fact]
    [Trait("Conformance", "41")]
    public async Task ReturnAsync_StrictResetWhileNpgsqlPreparesEverything_GoesOnWorking()
    {
        await using var server = await PoolOnServer.CreateAsync(
            options => (options.MaxSize, options.Reset) = (1, SessionReset.Strict),
            text => (text.MaxAutoPrepare, text.AutoPrepareMinUsages) = (10, 1));

        for (var i = 0; i < 20; i++)
        {
            await using var lease = await server.Pool.RentAsync(Cancellation);
            await lease.DoAsync("SET work_mem = '7MB'");
            Assert.Equal(42, await lease.AskAsync<int>("SELECT 42"));
        }

        await using var last = await server.Pool.RentAsync(Cancellation);
        Assert.Equal("4MB", await last.AskAsync<string>("SHOW work_mem"));
        Assert.Equal(1, server.Snapshot.TotalOpened);
    }

    [Fact]
    [Trait("Conformance", "43")]
    public async Task ReturnAsync_RollbackReset_KeepsSettingsByChoiceButNoTransaction()
    {
        await using var server = await CreateAsync(SessionReset.Rollback);
        await using (var lease = await server.Pool.RentAsync(Cancellation))
        {
            await lease.DoAsync("SET work_mem = '7MB'; CREATE TEMP TABLE litter (id int)");
            await lease.DoAsync("BEGIN; SET LOCAL statement_timeout = 77");
        }

        await using var next = await server.Pool.RentAsync(Cancellation);

        Assert.Equal("7MB", await next.AskAsync<string>("SHOW work_mem"));
        Assert.False(await next.AskAsync<bool>("SELECT to_regclass('pg_temp.litter') IS NULL"));
        Assert.Equal("0", await next.AskAsync<string>("SHOW statement_timeout"));
    }

    [Fact]
    [Trait("Conformance", "41")]
    public async Task ReturnAsync_FullReset_PreparedStatementsOfNpgsqlGoOnWorking()
    {
        await using var server = await PoolOnServer.CreateAsync(
            options => options.MaxSize = 1, text => (text.MaxAutoPrepare, text.AutoPrepareMinUsages) = (10, 2));

        for (var i = 0; i < 20; i++)
        {
            await using var lease = await server.Pool.RentAsync(Cancellation);
            await lease.DoAsync("SET work_mem = '7MB'");
            Assert.Equal(42, await lease.AskAsync<int>("SELECT 42"));
        }

        await using var last = await server.Pool.RentAsync(Cancellation);
        Assert.Equal("4MB", await last.AskAsync<string>("SHOW work_mem"));
    }

    [Fact]
    [Trait("Conformance", "41")]
    public async Task ReturnAsync_StrictResetCutOffByTheLeasesOwnTimeout_CostsTheConnectionAndNotTheNextLease()
    {
        await using var server = await CreateAsync(SessionReset.Strict);
        var session = await OutlastResetAsync(server);

        await using var next = await server.Pool.RentAsync(Cancellation);

        Assert.NotEqual(session, await next.AskAsync<int>("SELECT pg_backend_pid()"));
        Assert.Equal("0", await next.AskAsync<string>("SHOW statement_timeout"));
    }

    /// <summary>A limit of Npgsql's reset, as docs/session-reset.md says: nothing is seen, but it is an innocent that fails.</summary>
    [Fact]
    public async Task ReturnAsync_FullResetCutOffByTheLeasesOwnTimeout_FailsTheFirstCommandOfTheNextLease()
    {
        await using var server = await CreateAsync(SessionReset.Full);
        server.Pool.Reconfigure(options => options.ProbeAfterQuiet = Timeout.InfiniteTimeSpan);
        await OutlastResetAsync(server);

        await using (var next = await server.Pool.RentAsync(Cancellation))
        {
            var cutOff = await Assert.ThrowsAsync<PostgresException>(() => next.AskAsync<int>("SELECT 1"));
            Assert.Equal(PostgresErrorCodes.QueryCanceled, cutOff.SqlState);
        }

        await using var third = await server.Pool.RentAsync(Cancellation);
        Assert.Equal("0", await third.AskAsync<string>("SHOW statement_timeout"));
    }

    /// <summary>A rent that looks before it hands out meets the limit itself.</summary>
    [Fact]
    public async Task ReturnAsync_FullResetCutOffAndTheNextRentLooks_CostsTheConnectionAndNotTheNextLease()
    {
        await using var server = await CreateAsync(SessionReset.Full);
        var session = await OutlastResetAsync(server);
        server.Pool.Parts.Physicals.RequireProbes();

        await using var next = await server.Pool.RentAsync(Cancellation);

        Assert.NotEqual(session, await next.AskAsync<int>("SELECT pg_backend_pid()"));
        Assert.Equal("0", await next.AskAsync<string>("SHOW statement_timeout"));
    }

    /// <summary>Leaves more to drop than the timeout allows that it leaves as well.</summary>
    private static async Task<int> OutlastResetAsync(PoolOnServer server)
    {
        await using var lease = await server.Pool.RentAsync(Cancellation);
        await lease.DoAsync("DO $$ BEGIN FOR i IN 1..300 LOOP EXECUTE 'CREATE TEMP TABLE litter' || i || ' (id int PRIMARY KEY)'; END LOOP; END $$");
        await lease.DoAsync("SET statement_timeout = 2");
        return lease.Session();
    }

    private static async Task<int> LitterAsync(PoolOnServer server, bool blocking)
    {
        var lease = await server.Pool.RentAsync(Cancellation);
        var session = lease.Session();
        await lease.DoAsync(
            """
            SET work_mem = '7MB';
            CREATE TEMP TABLE litter (id int);
            LISTEN litter;
            SELECT pg_advisory_lock(4711);
            DECLARE left_open CURSOR WITH HOLD FOR SELECT 1;
            SET ROLE pg_monitor;
            """.Replace("4711", $"{session}", StringComparison.Ordinal));
        await ReturnAsync(lease, blocking);
        return session;
    }

    private static async Task PrepareAsync(Lease lease)
    {
        // Npgsql's own reset leaves prepared statements alone once it has one of its own.
        await using var own = lease.CreateCommand("SELECT 1");
        await own.PrepareAsync(Cancellation);
        await lease.DoAsync("PREPARE left_behind AS SELECT 1");
    }

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

    private static Task<PoolOnServer> CreateAsync(SessionReset reset)
        => PoolOnServer.CreateAsync(options => (options.MaxSize, options.Reset) = (1, reset));
}
