using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.Outages;

/// <summary>The server is restarted under a pool that watches it: rents take longer, and none fails (design decision D9).</summary>
public sealed class RestartTests
{
    private const int MaxSize = 6;
    private const int MinSize = 3;
    private const int MaxConcurrentOpens = 2;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(StopMode.Fast)]
    [InlineData(StopMode.Immediate)]
    [InlineData(StopMode.Kill)]
    [Trait("Conformance", "6")]
    [Trait("Conformance", "83")]
    public async Task Restart_OfAnIdlePool_RetiresWhatIsIdleBeforeTheNextRentAndFailsNone(StopMode mode)
    {
        await using var postgres = await PostgresServer.StartAsync(cancellationToken: Cancellation);
        await using var proxy = TcpProxy.Start(postgres.ConnectionString);
        await using var server = await CreateAsync(postgres, proxy);
        await server.Pool.FillAsync(MaxSize, Cancellation);
        await server.WatchingAsync();
        var rents = server.Snapshot.TotalRents;

        await postgres.StopAsync(mode);

        await Eventually.True(() => server.Snapshot is { Idle: 0, TotalClosed: >= MaxSize }, "everything idle is retired");
        Assert.Equal((rents, 1), (server.Snapshot.TotalRents, server.Logged(OutageKit.ServerLost)));
        var during = Enumerable.Range(0, 3 * MaxSize).Select(_ => server.UseAsync(Cancellation)).ToArray();
        await Eventually.True(() => server.Snapshot is { Waiting: 3 * MaxSize, LastConnectError: not null }, "they wait, and an open has failed");

        await postgres.StartAgainAsync(Cancellation);

        await Task.WhenAll(during);
        await server.BurstAsync(MaxSize, Cancellation);
        Assert.Equal((0L, 0L, CircuitState.Closed), (server.Snapshot.TotalTimeouts, server.Snapshot.TotalRejected, server.Snapshot.Circuit));
        Assert.Equal(0, server.Logged(OutageKit.CircuitOpened));
        AssertFewConnectAtOnce(proxy);
    }

    [Fact]
    [Trait("Conformance", "6")]
    [Trait("Conformance", "83")]
    public async Task Restart_WithoutAnyRent_RestoresTheMinimumAndTheWatch()
    {
        await using var postgres = await PostgresServer.StartAsync(cancellationToken: Cancellation);
        await using var proxy = TcpProxy.Start(postgres.ConnectionString);
        await using var server = await CreateAsync(postgres, proxy);
        await server.Pool.FillAsync(MaxSize, Cancellation);
        await server.WatchingAsync();
        await postgres.StopAsync(StopMode.Fast);
        await Eventually.True(() => server.Snapshot.Idle == 0, "everything idle is retired");

        await postgres.StartAgainAsync(Cancellation);

        await Eventually.True(() => server.Snapshot is { Idle: MinSize, Opening: 0, Circuit: CircuitState.Closed }, "the minimum is there again");
        await server.SessionsBecomeAsync(MinSize);
        await server.WatchingAsync();
        AssertFewConnectAtOnce(proxy);
    }

    /// <summary>Rents that found nothing wrong may still get a command to fail; what is rented after the restart may not.</summary>
    [Theory]
    [InlineData(StopMode.Fast)]
    [InlineData(StopMode.Immediate)]
    [Trait("Conformance", "83")]
    public async Task Restart_UnderLoad_FailsNoRentAndNoCommandOfALeaseRentedAfterIt(StopMode mode)
    {
        await using var postgres = await PostgresServer.StartAsync(cancellationToken: Cancellation);
        await using var proxy = TcpProxy.Start(postgres.ConnectionString);
        await using var server = await CreateAsync(postgres, proxy);
        await server.Pool.FillAsync(MaxSize, Cancellation);
        await server.WatchingAsync();
        using var load = new Load(server, workers: 2 * MaxSize);
        await Eventually.True(() => load.Served > 100, "there is load");

        await postgres.StopAsync(mode);
        await Eventually.True(() => server.Logged(OutageKit.ServerLost) + server.Logged(OutageKit.Broken) > 0, "the pool has noticed");
        await postgres.StartAgainAsync(Cancellation);
        load.CommandsMustSucceed();
        var before = load.Served;
        await Eventually.True(() => load.Served > before + 200, "the load goes on");
        await load.StopAsync();

        Assert.Empty(load.FailedRents);
        Assert.Empty(load.FailedLater);
        Assert.Equal((0L, 0), (server.Snapshot.TotalTimeouts, server.Logged(OutageKit.CircuitOpened)));
        AssertFewConnectAtOnce(proxy);
        await Outstanding.NoneAsync(server.Pool);
        await server.BurstAsync(MaxSize, Cancellation);
    }

    /// <summary>All are out when the server goes: whoever waits for one of those is served by a new one.</summary>
    [Fact]
    [Trait("Conformance", "48")]
    [Trait("Conformance", "83")]
    public async Task Restart_WhileEveryConnectionIsLeasedAndOthersWait_ServesThemOnceTheLeasesAreBack()
    {
        await using var postgres = await PostgresServer.StartAsync(cancellationToken: Cancellation);
        await using var server = await CreateAsync(postgres);
        var leases = await server.Pool.RentAsync(MaxSize, Cancellation);
        var waiting = Enumerable.Range(0, MaxSize).Select(_ => server.UseAsync(Cancellation)).ToArray();
        await Eventually.True(() => server.Snapshot.Waiting == MaxSize, "they wait");

        await postgres.StopAsync(StopMode.Immediate);
        foreach (var lease in leases)
        {
            await Assert.ThrowsAnyAsync<NpgsqlException>(() => lease.DoAsync("SELECT 1"));
        }

        await leases.ReturnAllAsync();
        Assert.All(waiting, rent => Assert.False(rent.IsCompleted));
        await postgres.StartAgainAsync(Cancellation);

        await Task.WhenAll(waiting);
        Assert.Equal((0L, 0), (server.Snapshot.TotalTimeouts, server.Snapshot.Quarantined));
    }

    /// <summary>One more than the pool's own: the control connection.</summary>
    private static void AssertFewConnectAtOnce(TcpProxy proxy)
    {
        Assert.InRange(proxy.PeakConnecting, 1, MaxConcurrentOpens + 1);
        Assert.InRange(proxy.PeakConnections, 1, MaxSize + 1);
    }

    /// <summary>A restart takes a fraction of a second; how patient the pool is, is not the point here.</summary>
    private static Task<PoolOnServer> CreateAsync(PostgresServer postgres, TcpProxy? proxy = null)
        => PoolOnServer.CreateAsync(
            options =>
            {
                (options.MaxSize, options.MinSize, options.MaxConcurrentOpens) = (MaxSize, MinSize, MaxConcurrentOpens);
                options.AcquireTimeout = options.Breaker.TripAfter = TimeSpan.FromSeconds(30);
            },
            server: postgres.ConnectionString,
            proxy: proxy);
}
