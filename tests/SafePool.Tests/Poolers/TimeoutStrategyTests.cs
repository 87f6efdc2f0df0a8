using SafePool.TestKit;
using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.Poolers;

/// <summary>How timeouts reach the server, and what the pool does to its sessions, where a real PgBouncer is in between.</summary>
public sealed class TimeoutStrategyTests
{
    private const int Leases = 8;
    private const string Show = "SHOW statement_timeout";

    private static readonly TimeSpan _timeout = TimeSpan.FromMilliseconds(1234);

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(PoolMode.Session)]
    [InlineData(PoolMode.Transaction)]
    public async Task RentAsync_ManyAtOnceOnANewPool_FindThePathOnceAndLoseNoConnection(PoolMode mode)
    {
        await using var gateway = await Gateway.BouncerAsync(mode);
        await using var pool = await gateway.PoolAsync(options => (options.MaxSize, options.StatementTimeout, options.WatchServer) = (Leases, _timeout, false));

        for (var round = 0; round < 3; round++)
        {
            var leases = await pool.Pool.RentAsync(Leases, Cancellation);
            foreach (var lease in leases)
            {
                Assert.Equal(mode == PoolMode.Session ? "1234ms" : "0", await lease.AskAsync<string>(Show));
                await using var transaction = await lease.BeginTransactionAsync(cancellationToken: Cancellation);
                Assert.Equal("1234ms", await lease.AskAsync<string>(Show));
            }

            await leases.ReturnAllAsync();
        }

        Assert.Equal((Leases, Leases), (pool.Snapshot.Idle, pool.Snapshot.TotalOpened));
        await Eventually.True(async () => await ClientsAsync(gateway) == Leases, "the pooler has no other clients");
        Assert.Single(pool.Logs.Entries, entry => entry.EventId.Id == 140);
        Assert.DoesNotContain(pool.Logs.Entries, entry => entry.EventId.Id == 120);
    }

    [Theory]
    [InlineData(PoolMode.Session, "1234ms")]
    [InlineData(PoolMode.Transaction, "0")]
    public async Task Rent_Blocking_FindsThePathToo(PoolMode mode, string outsideOfTransactions)
    {
        await using var gateway = await Gateway.BouncerAsync(mode);
        await using var pool = await gateway.PoolAsync(options => (options.MaxSize, options.StatementTimeout) = (2, _timeout));

        for (var round = 0; round < 2; round++)
        {
            using var lease = pool.Pool.Rent();
            Assert.Equal(outsideOfTransactions, lease.Ask<string>(Show));
            using var transaction = lease.BeginTransaction();
            Assert.Equal("1234ms", lease.Ask<string>(Show));
        }

        Assert.True(pool.Pool.TryRent(out var tried));
        Assert.Equal(outsideOfTransactions, tried.Ask<string>(Show));
        tried.Dispose();
        Assert.Equal(1, pool.Snapshot.TotalOpened);
    }

    [Fact]
    public async Task Warning_OfAPoolerThatRefusesOptions_NamesFindingAndCure()
    {
        await using var gateway = await Gateway.BouncerAsync(PoolMode.Transaction);
        await using var pool = await gateway.PoolAsync(
            options => (options.StatementTimeout, options.LockTimeout) = (_timeout, TimeSpan.FromMilliseconds(55)));

        await pool.Pool.FillAsync(2, Cancellation);

        var warning = Assert.Single(pool.Logs.Entries, entry => entry.EventId.Id == 140).Message;
        Assert.Contains("unsupported startup parameter: options", warning, StringComparison.Ordinal);
        Assert.Contains("lease.BeginTransaction", warning, StringComparison.Ordinal);
        Assert.Contains("ALTER ROLE … SET statement_timeout = '1234ms'; ALTER ROLE … SET lock_timeout = '55ms'", warning, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(SessionReset.Full)]
    [InlineData(SessionReset.Strict)]
    [InlineData(SessionReset.Rollback)]
    public async Task PerLease_DirectlyConnected_IsInForceOnEveryLeaseWhateverTheOneBeforeDid(SessionReset reset)
    {
        await using var pool = await PoolOnServer.CreateAsync(options =>
        {
            (options.MaxSize, options.Reset, options.Timeouts) = (1, reset, TimeoutStrategy.PerLease);
            (options.StatementTimeout, options.LockTimeout) = (_timeout, TimeSpan.FromMilliseconds(55));
        });

        for (var round = 0; round < 3; round++)
        {
            await using var lease = round == 1
                ? await pool.Pool.RentAsync(new RentOptions { StatementTimeout = TimeSpan.FromMilliseconds(777) }, Cancellation)
                : await pool.Pool.RentAsync(Cancellation);
            Assert.Equal(round == 1 ? "777ms" : "1234ms", await lease.AskAsync<string>(Show));
            Assert.Equal("55ms", await lease.AskAsync<string>("SHOW lock_timeout"));
            await lease.DoAsync("SET statement_timeout = 1000; SET lock_timeout = 0");
        }

        Assert.Equal(1, pool.Snapshot.TotalOpened);
        Assert.DoesNotContain(pool.Logs.Entries, entry => entry.EventId.Id is 120 or 140);
    }

    [Fact]
    public async Task None_DirectlyConnected_SendsAndChecksNothing()
    {
        await using var pool = await PoolOnServer.CreateAsync(
            options => (options.Timeouts, options.StatementTimeout) = (TimeoutStrategy.None, _timeout),
            text => text.Options = "-c lock_timeout=55ms -c work_mem=5MB");

        await using var lease = await pool.Pool.RentAsync(Cancellation);

        Assert.Equal("0", await lease.AskAsync<string>(Show));
        Assert.Equal("0", await lease.AskAsync<string>("SHOW lock_timeout"));
        Assert.Equal("5MB", await lease.AskAsync<string>("SHOW work_mem"));
        Assert.DoesNotContain(pool.Logs.Entries, entry => entry.EventId.Id is 120 or 140);
    }

    [Fact]
    public async Task StatementTimeout_OfOneRentBehindATransactionPooler_ReachesNobodyElse()
    {
        await using var gateway = await Gateway.BouncerAsync(PoolMode.Transaction);
        await using var pool = await gateway.PoolAsync(options => options.MaxSize = 1);
        await using var stranger = await gateway.StrangerAsync();
        await using var lease = await pool.Pool.RentAsync(new RentOptions { StatementTimeout = _timeout }, Cancellation);

        await using (await lease.BeginTransactionAsync(cancellationToken: Cancellation))
        {
            Assert.Equal("1234ms", await lease.AskAsync<string>(Show));
        }

        Assert.Equal("0", await lease.AskAsync<string>(Show));
        Assert.Equal("0", await stranger.AskAsync<string>(Show));
    }

    [Fact]
    public async Task Reset_StrictBehindATransactionPooler_IsWarnedAboutAndHarmsNobody()
    {
        await using var gateway = await Gateway.BouncerAsync(PoolMode.Transaction);
        await using var pool = await gateway.PoolAsync(options => (options.MaxSize, options.Reset) = (1, SessionReset.Strict));
        await pool.Pool.FillAsync(1, Cancellation);
        await using var stranger = await gateway.StrangerAsync();
        await stranger.DoAsync("PREPARE theirs AS SELECT 1");

        await using (var lease = await pool.Pool.RentAsync(Cancellation))
        {
            _ = await lease.BeginTransactionAsync(cancellationToken: Cancellation);
            await lease.DoAsync("SELECT 1");
        }

        await stranger.DoAsync("EXECUTE theirs");
        Assert.Single(pool.Logs.Entries, entry => entry.EventId.Id == 142);
        Assert.Single(pool.Logs.Entries, entry => entry.EventId.Id == 110);
    }

    [Fact]
    public async Task RentAsync_PoolerBySessionBecomesOneByTransaction_IsFoundOutWithoutASetLeftBehind()
    {
        await using var gateway = await Gateway.BouncerAsync(PoolMode.Session);
        await using var pool = await gateway.PoolAsync(options => (options.MaxSize, options.StatementTimeout, options.WatchServer) = (1, _timeout, false));
        await using (var before = await pool.Pool.RentAsync(Cancellation))
        {
            Assert.Equal("1234ms", await before.AskAsync<string>(Show));
        }

        await gateway.Bouncer!.CommandAsync("SET pool_mode = 'transaction'", Cancellation);
        await (await pool.Pool.RentAsync(Cancellation)).DisposeAsync();
        await using var stranger = await gateway.StrangerAsync();
        await using var theirs = await stranger.BeginTransactionAsync(Cancellation);
        await stranger.DoAsync("SELECT 1");

        for (var round = 0; round < 2; round++)
        {
            await using var lease = await pool.Pool.RentAsync(Cancellation);
            Assert.Equal("0", await lease.AskAsync<string>(Show));
            await using var transaction = await lease.BeginTransactionAsync(cancellationToken: Cancellation);
            Assert.Equal("1234ms", await lease.AskAsync<string>(Show));
        }

        Assert.Single(pool.Logs.Entries, entry => entry.EventId.Id == 143);
        Assert.Equal((1, 0), (pool.Snapshot.Idle, pool.Snapshot.Leased));
        Assert.Equal((2, 1), (pool.Snapshot.TotalOpened, pool.Snapshot.TotalClosed));
        await Eventually.True(async () => await ClientsAsync(gateway) == 2, "the pooler has the pool's one connection and the stranger's");
    }

    [Fact]
    public async Task RentAsync_PoolerHasNoSecondBackendToAskBy_IsCarefulAndSaysSo()
    {
        await using var gateway = await Gateway.BouncerAsync(PoolMode.Session, configure: options => options.Settings["default_pool_size"] = "1");
        await using var pool = await gateway.PoolAsync(options => (options.MaxSize, options.StatementTimeout) = (1, _timeout));

        await using var lease = await pool.Pool.RentAsync(Cancellation);

        Assert.Equal("0", await lease.AskAsync<string>(Show));
        await using var transaction = await lease.BeginTransactionAsync(cancellationToken: Cancellation);
        Assert.Equal("1234ms", await lease.AskAsync<string>(Show));
        var finding = Assert.Single(pool.Logs.Entries, entry => entry.EventId.Id == 141).Message;
        Assert.Contains("did not let itself be asked", finding, StringComparison.Ordinal);
    }

    [Fact]
    public async Task RoundRobinPooler_OfTransactions_IsFoundOut()
    {
        await using var gateway = await Gateway.BouncerAsync(PoolMode.Transaction, configure: options =>
        {
            options.Settings["server_round_robin"] = "1";
            options.Settings["min_pool_size"] = "2";
        });
        await using var first = await gateway.StrangerAsync();
        await using var second = await gateway.StrangerAsync();
        await using (await first.BeginTransactionAsync(Cancellation))
        await using (await second.BeginTransactionAsync(Cancellation))
        {
            await first.DoAsync("SELECT 1");
            await second.DoAsync("SELECT 1");
        }

        await using var pool = await gateway.PoolAsync(options => options.StatementTimeout = _timeout);
        await pool.Pool.FillAsync(1, Cancellation);

        var finding = Assert.Single(pool.Logs.Entries, entry => entry.EventId.Id == 141).Message;
        Assert.Contains("by transaction", finding, StringComparison.Ordinal);
    }

    private static async Task<int> ClientsAsync(Gateway gateway)
    {
        const int Database = 2;
        var clients = await gateway.Bouncer!.CommandAsync("SHOW CLIENTS", Cancellation);
        return clients.Count(client => client[Database] == "postgres");
    }
}
