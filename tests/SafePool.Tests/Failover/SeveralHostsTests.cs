using System.Transactions;
using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using SafePool.Tests.Outages;
using Xunit;

namespace SafePool.Tests.Failover;

/// <summary>Two servers behind one pool, neither of them special: what one of them does must not cost the other.</summary>
public sealed class SeveralHostsTests : IAsyncLifetime
{
    private const string RunsOn = "SELECT current_setting('port')::int";

    private PostgresServer _first = null!;
    private PostgresServer _second = null!;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _first = await PostgresServer.StartAsync(cancellationToken: Cancellation);
        _second = await PostgresServer.StartAsync(cancellationToken: Cancellation);
    }

    public async ValueTask DisposeAsync()
    {
        await _first.DisposeAsync();
        await _second.DisposeAsync();
    }

    [Theory]
    [InlineData(1)]
    [InlineData(8)]
    public async Task RentAsync_LoadIsBalanced_SequentialRentsSpreadOverTheHosts(int connections)
    {
        await using var pool = Pool("Load Balance Hosts=true");
        await pool.FillAsync(connections, Cancellation);

        await Eventually.True(async () => await ShareAsync(pool, 100) is > 35 and < 65, "rents spread over both hosts");
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task RentAsync_LoadIsBalancedAndAHostRestarts_IsUsedAgain(bool agesOut)
    {
        await using var pool = Pool("Load Balance Hosts=true;Host Recheck Seconds=1", options =>
        {
            if (agesOut)
            {
                options.MaxLifetime = TimeSpan.FromSeconds(1);
            }
        });
        await pool.FillAsync(8, Cancellation);
        await _second.StopAsync();
        await Eventually.True(async () => await ShareAsync(pool, 20) == 100, "all rents are served by the first");

        await _second.StartAgainAsync(Cancellation);

        await Eventually.True(async () => await ShareAsync(pool, 100) is > 35 and < 65, "the second has its share again", TimeSpan.FromSeconds(15));
        Assert.InRange(pool.GetSnapshot().Idle, 2, 10);
    }

    /// <summary>The pool's own question to the host that came back runs the user's code as well.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task RentAsync_AHostComesBackAndTheFirstConnectionToItHangs_IsUsedAgainAllTheSame(bool holdsThread)
    {
        var hang = new Hang();
        await using var pool = Pool("Load Balance Hosts=true;Host Recheck Seconds=1", options => hang.Install(options, "initializer", holdsThread, ""));
        try
        {
            await pool.FillAsync(8, Cancellation);
            await _second.StopAsync();
            await Eventually.True(async () => await ShareAsync(pool, 20) == 100, "all rents are served by the first");
            hang.Next(1);

            await _second.StartAgainAsync(Cancellation);

            await Eventually.True(async () => await ShareAsync(pool, 100) is > 35 and < 65, "the second has its share again", TimeSpan.FromSeconds(25));
            Assert.Equal(1, hang.Hanging);
        }
        finally
        {
            hang.LetGo();
        }
    }

    [Fact]
    public async Task RentAsync_LoadIsBalancedAndBothAreUp_MovesNothingToAndFro()
    {
        await using var pool = Pool("Load Balance Hosts=true");
        await pool.FillAsync(7, Cancellation);
        await BalanceAsync(pool, 3, 4);
        var opened = pool.GetSnapshot().TotalOpened;

        for (var round = 0; round < 30; round++)
        {
            await ShareAsync(pool, 500);
        }

        Assert.Equal(opened, pool.GetSnapshot().TotalOpened);
    }

    [Fact]
    public async Task Return_OfAConnectionThatBroke_LeavesThoseOfTheOtherHostAlone()
    {
        await using var pool = Pool("Load Balance Hosts=true");
        await pool.FillAsync(8, Cancellation);
        await BalanceAsync(pool, 4, 4);
        var leases = await pool.RentAsync(8, Cancellation);
        var survivors = new HashSet<int>();
        foreach (var lease in leases)
        {
            if (await lease.AskAsync<int>(RunsOn) == _second.Port)
            {
                survivors.Add(lease.Session());
            }
        }

        Assert.Equal(4, survivors.Count);
        await _first.StopAsync();
        foreach (var lease in leases)
        {
            await Record.ExceptionAsync(() => lease.DoAsync("SELECT 1"));
        }

        await leases.ReturnAllAsync();

        Assert.Equal(survivors.Count, pool.GetSnapshot().Idle);
        var again = await pool.RentAsync(survivors.Count, Cancellation);
        Assert.Equal(survivors, again.Select(lease => lease.Session()).ToHashSet());
        await again.ReturnAllAsync();
    }

    /// <summary>Npgsql 10.0.3 gives up at the first host that has nothing idle; 10.0.0 goes on.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task TryRent_TheFirstHostIsDeadAndTheSecondHasSomethingIdle_IsServedAtOnceAndNobodyKnocks(bool isSilent)
    {
        await using var dead = TcpProxy.Start(_first.ConnectionString);
        await using var alive = TcpProxy.Start(_second.ConnectionString);
        dead.SilenceNew = isSilent;
        dead.RefuseNew = !isSilent;
        await using var pool = Pool("", hosts: Over(dead.Port, alive.Port));
        await pool.FillAsync(1, Cancellation);
        var connects = dead.TotalAccepted + alive.TotalAccepted;

        for (var i = 0; i < 300; i++)
        {
            await Eventually.True(() => Try(pool), "a rent is served");
        }

        Assert.InRange(dead.TotalAccepted + alive.TotalAccepted - connects, 0, 3);
        Assert.Equal((1L, 1), (pool.GetSnapshot().TotalOpened, pool.GetSnapshot().Idle));
    }

    [Fact]
    public async Task RentAsync_TheFirstHostIsSilent_UsesItsShareOfConnectTimeoutOnceAndTheOtherServes()
    {
        await using var silent = TcpProxy.Start(_first.ConnectionString);
        silent.SilenceNew = true;
        await using var pool = Pool("Timeout=3", hosts: Over(silent.Port, _second.Port));

        var leases = await pool.RentAsync(5, Cancellation);

        Assert.Equal(5, leases.Length);
        Assert.InRange(silent.TotalAccepted, 1, 5);
        await leases.ReturnAllAsync();
    }

    [Fact]
    public async Task RentAsync_TheFirstHostComesBack_GetsTheConnectionsBackWithoutInterruptingALease()
    {
        await using var pool = Pool("Host Recheck Seconds=1");
        await _first.StopAsync();
        await pool.FillAsync(4, Cancellation);
        Assert.Equal(0, await ShareAsync(pool, 10));
        await using var lease = await pool.RentAsync(Cancellation);
        var session = lease.Session();

        await _first.StartAgainAsync(Cancellation);

        await Eventually.True(async () => await ShareAsync(pool, 10) == 100, "rents are served by the first again", TimeSpan.FromSeconds(15));
        Assert.Equal((session, _second.Port), (lease.Session(), await lease.AskAsync<int>(RunsOn)));
    }

    [Fact]
    public async Task RentAsync_AllHostsAreDown_NamesEachAndWhatItSaidAndServesOnceOneIsBack()
    {
        await using var pool = Pool("", options => (options.AcquireTimeout, options.Breaker.TripAfter) = (TimeSpan.FromSeconds(20), TimeSpan.FromSeconds(1)));
        await _first.StopAsync();
        await _second.StopAsync();

        var failure = await Record.ExceptionAsync(() => ShareAsync(pool, 1));

        var open = Assert.IsType<CircuitOpenException>(failure);
        Assert.Contains($"127.0.0.1:{_first.Port}", open.InnerException!.Message, StringComparison.Ordinal);
        Assert.Contains($"127.0.0.1:{_second.Port}", open.InnerException.Message, StringComparison.Ordinal);
        await _second.StartAgainAsync(Cancellation);
        await Eventually.True(async () => await Record.ExceptionAsync(() => ShareAsync(pool, 1)) is null, "rents are served");
    }

    [Fact]
    public async Task MaxSize_WithSeveralHosts_BoundsTheSessionsOfAllTogether()
    {
        await using var first = TcpProxy.Start(_first.ConnectionString);
        await using var second = TcpProxy.Start(_second.ConnectionString, countedWith: first);
        await using var pool = Pool("Load Balance Hosts=true", options => options.WatchServer = false, Over(first.Port, second.Port));

        await Task.WhenAll(Enumerable.Range(0, 200).Select(async _ =>
        {
            await using var lease = await pool.RentAsync(Cancellation);
            await lease.DoAsync("SELECT pg_sleep(0.005)");
        }));

        // Of both together; and one for each host that asks it, for a moment.
        Assert.InRange(first.PeakConnections, 2, 10);
    }

    [Theory]
    [InlineData("")]
    [InlineData("Load Balance Hosts=true")]
    public async Task RentAsync_WithinATransactionScope_GoesOnWithTheSameSession(string keywords)
    {
        await using var pool = Pool(keywords);
        await pool.FillAsync(4, Cancellation);
        for (var round = 0; round < 4; round++)
        {
            using var scope = new TransactionScope(TransactionScopeAsyncFlowOption.Enabled);
            int session;
            await using (var lease = await pool.RentAsync(Cancellation))
            {
                session = lease.Session();
            }

            await using (var lease = await pool.RentAsync(Cancellation))
            {
                Assert.Equal(session, lease.Session());
            }

            scope.Complete();
        }

        await Eventually.True(() => pool.GetSnapshot().Leased == 0, "nothing is held");
    }

    [Fact]
    public async Task OpenConnection_ClosedByItsUser_IsFoundAgainWhereverItLies()
    {
        await using var pool = Pool("Load Balance Hosts=true");
        await pool.FillAsync(4, Cancellation);
        for (var i = 0; i < 50; i++)
        {
            await using var connection = await pool.OpenConnectionAsync(Cancellation);
        }

        Assert.InRange(pool.GetSnapshot().TotalOpened, 4, 6);
    }

    private static bool Try(ConnectionPool pool)
    {
        if (!pool.TryRent(out var lease))
        {
            return false;
        }

        lease.Dispose();
        return true;
    }

    private static string Over(int first, int second) => ReplicatedPair.Over(first, second) + ";SSL Mode=Disable;Gss Encryption Mode=Disable";

    private ConnectionPool Pool(string keywords, Action<ConnectionPoolOptions>? configure = null, string? hosts = null)
        => ConnectionPool.Create($"{hosts ?? Over(_first.Port, _second.Port)};{keywords}", options =>
        {
            (options.MaxSize, options.AcquireTimeout) = (10, TimeSpan.FromMinutes(1));
            configure?.Invoke(options);
        });

    /// <summary>How many of a hundred rents, one after the other, the first server serves.</summary>
    /// <summary>Uses the pool until so many connections lead to one host, and so many to the other: how a burst is spread depends on how long each host takes.</summary>
    private async Task BalanceAsync(ConnectionPool pool, int fewer, int more)
        => await Eventually.True(
            async () =>
            {
                await ShareAsync(pool, 10);
                return pool.Parts.Source.Hosts!.All.Select(pool.Parts.Physicals.CountAt).Order().SequenceEqual([fewer, more])
                    && pool.GetSnapshot() is { Opening: 0, Leased: 0 } counts && counts.Idle == fewer + more;
            },
            "each has its half",
            TimeSpan.FromSeconds(20));

    private async Task<int> ShareAsync(ConnectionPool pool, int rents)
    {
        var first = 0;
        for (var i = 0; i < rents; i++)
        {
            try
            {
                await using var lease = await pool.RentAsync(Cancellation);
                first += await lease.AskAsync<int>(RunsOn) == _first.Port ? 1 : 0;
            }
            catch (NpgsqlException)
            {
                // What was idle at the host that has gone.
            }
        }

        return first * 100 / rents;
    }
}
