using Npgsql;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Integration;

public sealed class WarmUpTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    [Trait("Conformance", "4")]
    [Trait("Conformance", "10")]
    public async Task WarmUpAsync_OverASlowNetwork_OpensMinSizeAndNoMoreAtATimeThanAllowed()
    {
        await using var proxy = TcpProxy.Start(await Outside.SharedServerAsync());
        proxy.AcceptDelay = TimeSpan.FromMilliseconds(100);
        await using var server = await PoolOnServer.CreateAsync(
            options => (options.MinSize, options.MaxSize, options.MaxConcurrentOpens, options.WatchServer) = (7, 10, 3, false), proxy: proxy);

        await server.Pool.WarmUpAsync(Cancellation);

        Assert.Equal(7, (await server.SessionsAsync()).Length);
        Assert.Equal((7, 0), (server.Snapshot.Idle, server.Snapshot.Opening));

        // And the control connection, which has asked for the server's limits.
        Assert.Equal(7 + 1, proxy.TotalAccepted);
        Assert.Equal(3, proxy.PeakConnecting);
    }

    [Fact]
    [Trait("Conformance", "4")]
    public async Task Maintenance_NobodyAsksForAnything_OpensMinSize()
    {
        await using var server = await PoolOnServer.CreateAsync(options => (options.MinSize, options.MaxSize) = (3, 5));

        await server.SessionsBecomeAsync(3);

        Assert.Equal(0, server.Snapshot.TotalRents);
        await server.Pool.WarmUpAsync(Cancellation);
        Assert.Equal(3, (await server.SessionsAsync()).Length);
    }

    /// <summary>It then lies at rest under no place of the pool's, and every open finds it before it would connect.</summary>
    [Fact]
    public async Task WarmUpAsync_AUserHasOpenedAndClosedAClone_OpensMinSizeAndCountsIt()
    {
        await using var server = await PoolOnServer.CreateAsync(options => (options.MaxSize, options.WatchServer) = (5, false));
        await using (var lease = await server.Pool.RentAsync(Cancellation))
        {
            await using var clone = (NpgsqlConnection)((ICloneable)lease.Connection).Clone();
            await clone.OpenAsync(Cancellation);
        }

        Assert.Equal(2, (await server.SessionsAsync()).Length);
        server.Pool.Reconfigure(options => options.MinSize = 5);

        await server.Pool.WarmUpAsync(Cancellation);

        Assert.Equal(5, server.Snapshot.Idle);
        Assert.Equal(5, (await server.SessionsAsync()).Length);
    }

    [Fact]
    [Trait("Conformance", "10")]
    public async Task RentAsync_BurstOnAnEmptyPool_NeverOpensMoreAtATimeThanAllowed()
    {
        await using var proxy = TcpProxy.Start(await Outside.SharedServerAsync());
        proxy.AcceptDelay = TimeSpan.FromMilliseconds(50);
        await using var server = await PoolOnServer.CreateAsync(options => (options.MaxSize, options.MaxConcurrentOpens, options.WatchServer) = (8, 2, false), proxy: proxy);

        var leases = await server.Pool.RentAsync(8, Cancellation);

        Assert.Equal(2, proxy.PeakConnecting);
        Assert.Equal(8, leases.Select(lease => lease.Session()).Distinct().Count());
        await leases.ReturnAllAsync();
    }

    [Fact]
    [Trait("Conformance", "5")]
    public async Task RentAsync_DuringWarmUp_IsServedByTheFirstOpenNotTheLast()
    {
        await using var proxy = TcpProxy.Start(await Outside.SharedServerAsync());
        proxy.AcceptDelay = TimeSpan.FromMilliseconds(100);
        await using var server = await PoolOnServer.CreateAsync(
            options => (options.MinSize, options.MaxSize, options.MaxConcurrentOpens) = (10, 10, 1), proxy: proxy);

        var warmUp = server.Pool.WarmUpAsync(Cancellation);
        await using var lease = await server.Pool.RentAsync(Cancellation);

        Assert.False(warmUp.IsCompleted);
        Assert.True(server.Snapshot.TotalOpened <= 2, $"{server.Snapshot.TotalOpened} were opened first");
        await warmUp;
        Assert.Equal(10, (await server.SessionsAsync()).Length);
    }

    [Fact]
    public async Task WarmUpAsync_ServerRefuses_ThrowsWhatTheOpenThrewOnceItsBudgetIsOver()
    {
        await using var proxy = TcpProxy.Start(await Outside.SharedServerAsync());
        proxy.RefuseNew = true;
        await using var server = await PoolOnServer.CreateAsync(
            options => (options.MinSize, options.AcquireTimeout) = (2, TimeSpan.FromSeconds(1.5)), proxy: proxy);

        await Assert.ThrowsAsync<NpgsqlException>(() => server.Pool.WarmUpAsync(Cancellation));

        Assert.Equal(0, server.Snapshot.Idle);
        proxy.RefuseNew = false;
        await server.Pool.WarmUpAsync(Cancellation);
        Assert.Equal(2, (await server.SessionsAsync()).Length);
    }

    /// <summary>To grow, what is idle is set aside for an instant. Several that do so at once put back what the others want out of the way: with hundreds idle the pool never filled.</summary>
    [Fact]
    public async Task WarmUpAsync_HundredsOfConnections_OpensThemAll()
    {
        const int Many = 400;
        await using var roomy = await PostgresServer.StartAsync(options => options.Settings["max_connections"] = "450", Cancellation);
        await using var server = await PoolOnServer.CreateAsync(
            options => (options.MinSize, options.MaxSize, options.MaxConcurrentOpens) = (Many, Many, 8), server: roomy.ConnectionString);

        await server.Pool.WarmUpAsync(Cancellation).WaitAsync(TimeSpan.FromSeconds(60), TimeProvider.System, Cancellation);

        Assert.Equal((Many, (long)Many), (server.Snapshot.Idle, server.Snapshot.TotalOpened));
    }

    [Fact]
    public async Task WarmUpAsync_Cancelled_StopsWaitingWhileTheOpenGoesOn()
    {
        await using var proxy = TcpProxy.Start(await Outside.SharedServerAsync());
        proxy.AcceptDelay = TimeSpan.FromMilliseconds(200);
        await using var server = await PoolOnServer.CreateAsync(
            options => (options.MinSize, options.MaxSize, options.WatchServer) = (1, 1, false), proxy: proxy);
        using var impatience = new CancellationTokenSource();

        var warmUp = server.Pool.WarmUpAsync(impatience.Token);
        await impatience.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => warmUp);
        await Eventually.True(() => server.Snapshot.Idle == 1, "the open has ended in the pool");
        Assert.Equal(1, proxy.TotalAccepted);
    }
}
