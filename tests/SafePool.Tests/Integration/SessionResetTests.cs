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
            // Npgsql's own reset leaves prepared statements alone once it has one of its own.
            await using var own = lease.CreateCommand("SELECT 1");
            await own.PrepareAsync(Cancellation);
            await lease.DoAsync("PREPARE left_behind AS SELECT 1");
        }

        await using var next = await server.Pool.RentAsync(Cancellation);

        Assert.Equal(0L, await next.AskAsync<long>("SELECT count(*) FROM pg_prepared_statements"));
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
        if (blocking)
        {
            lease.Dispose();
        }
        else
        {
            await lease.DisposeAsync();
        }

        return session;
    }

    private static Task<PoolOnServer> CreateAsync(SessionReset reset)
        => PoolOnServer.CreateAsync(options => (options.MaxSize, options.Reset) = (1, reset));
}
