using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.Failover;

/// <summary>An address that leads to PostgreSQL today and to PgBouncer tomorrow, and back.</summary>
public sealed class MovedPathTests : IAsyncLifetime
{
    private const string Show = "SHOW statement_timeout";
    private const string Locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";

    private PostgresServer _server = null!;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => _server = await PostgresServer.StartAsync(cancellationToken: Cancellation);

    public ValueTask DisposeAsync() => _server.DisposeAsync();

    [Theory]
    [InlineData(true, true)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    [InlineData(false, false)]
    public async Task RentAsync_TheAddressMovesToPgBouncerByTransaction_TimeoutsHoldInTransactionsAndNoStrangerIsReset(bool clears, bool takesOptions)
    {
        await using var bouncer = await BouncerAsync(takesOptions);
        await using var address = new SwitchedForwarder(_server.Port);
        using var logs = new LogCollector();
        await using var pool = Pool(address, logs, clears ? TimeSpan.FromHours(1) : TimeSpan.FromSeconds(1));
        await pool.FillAsync(2, Cancellation);
        await using var stranger = await StrangerAsync(bouncer);

        address.LeadTo(bouncer.Port);
        if (clears)
        {
            pool.Clear();
        }

        await Eventually.True(async () => await OutsideAsync(pool) == "0", "the pool is behind the pooler", TimeSpan.FromSeconds(15));
        for (var i = 0; i < 20; i++)
        {
            await using var lease = await pool.RentAsync(Cancellation);
            await using var transaction = await lease.BeginTransactionAsync(cancellationToken: Cancellation);
            Assert.Equal("7s", await lease.AskAsync<string>(Show));
        }

        Assert.Equal(1L, await _server.QueryAsync(Locks, Cancellation));
        Assert.Contains(logs.Entries, entry => entry.EventId.Id == (takesOptions ? 120 : 140));
        Assert.Contains(logs.Entries, entry => entry.EventId.Id == 141);
        Assert.Equal(!clears, logs.Entries.Any(entry => entry.EventId.Id == 152));
    }

    [Theory]
    [InlineData(true, true)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    [InlineData(false, false)]
    public async Task RentAsync_TheAddressMovesBackToPostgreSql_TimeoutsAndTheResetAreInForceAgain(bool clears, bool takesOptions)
    {
        await using var bouncer = await BouncerAsync(takesOptions);
        await using var address = new SwitchedForwarder(bouncer.Port);
        using var logs = new LogCollector();
        await using var pool = Pool(address, logs, clears ? TimeSpan.FromHours(1) : TimeSpan.FromSeconds(1));
        await pool.FillAsync(2, Cancellation);
        Assert.Equal("0", await OutsideAsync(pool));

        address.LeadTo(_server.Port);
        if (clears)
        {
            pool.Clear();
        }

        await Eventually.True(async () => await OutsideAsync(pool) == "7s", "the timeout is in force for every statement", TimeSpan.FromSeconds(15));
        await using (var lease = await pool.RentAsync(Cancellation))
        {
            await lease.DoAsync("SET work_mem = '7MB'");
        }

        foreach (var lease in await pool.RentAsync(2, Cancellation))
        {
            Assert.Equal("4MB", await lease.AskAsync<string>("SHOW work_mem"));
            await lease.DisposeAsync();
        }
    }

    [Fact]
    public async Task Clear_BehindAPoolerThatStaysWhereItIs_FindsTheSamePathAndServes()
    {
        await using var bouncer = await BouncerAsync(takesOptions: false);
        await using var address = new SwitchedForwarder(bouncer.Port);
        using var logs = new LogCollector();
        await using var pool = Pool(address, logs, TimeSpan.FromHours(1));
        for (var round = 0; round < 3; round++)
        {
            await pool.FillAsync(2, Cancellation);
            Assert.Equal("0", await OutsideAsync(pool));
            Assert.Equal(2, pool.GetSnapshot().Idle);
            pool.Clear();
        }

        Assert.DoesNotContain(logs.Entries, entry => entry.EventId.Id == 152);
    }

    private static async Task<string> OutsideAsync(ConnectionPool pool)
    {
        await using var lease = await pool.RentAsync(Cancellation);
        return await lease.AskAsync<string>(Show);
    }

    private static ConnectionPool Pool(SwitchedForwarder address, LogCollector logs, TimeSpan lifetime)
        => new(
            new ConnectionPoolOptions
            {
                ConnectionString = $"Host=127.0.0.1;Port={address.Port};Username=postgres;Database=postgres;Application Name=moves",
                MaxSize = 3,
                MaxLifetime = lifetime,
                StatementTimeout = TimeSpan.FromSeconds(7),
                AcquireTimeout = TimeSpan.FromSeconds(30),
            },
            logs);

    private Task<PgBouncerServer> BouncerAsync(bool takesOptions)
        => PgBouncerServer.StartAsync(
            _server.ConnectionString,
            options =>
            {
                options.Mode = PoolMode.Transaction;
                options.Settings["ignore_startup_parameters"] = takesOptions ? "extra_float_digits,options" : "extra_float_digits";
            },
            Cancellation);

    /// <summary>Another client of the pooler that holds an advisory lock of its session, which a session reset by anybody would undo.</summary>
    private static async Task<NpgsqlConnection> StrangerAsync(PgBouncerServer bouncer)
    {
        var stranger = new NpgsqlConnection(bouncer.ConnectionString + ";Pooling=false;No Reset On Close=true");
        await stranger.OpenAsync(Cancellation);
        await stranger.DoAsync("SELECT pg_advisory_lock(42)");
        return stranger;
    }
}
