using SafePool.TestKit;
using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.Outages;

/// <summary>What an outage leaves behind in a pool that nobody uses: nothing.</summary>
public sealed class UnusedAfterOutageTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    /// <summary>They find out by themselves that the server is back, and keep nothing of what they found it out with.</summary>
    [Theory]
    [InlineData(10, 0, 2)]
    [InlineData(4, 2, 8)]
    public async Task Recovery_OfPoolsThatNobodyUses_LeavesThemTheirMinimum(int tenants, int minSize, int slots)
    {
        await using var postgres = await PostgresServer.StartAsync(options => options.Settings["autovacuum"] = "off", Cancellation);
        await using var own = await OwnRole.CreateAsync(postgres.ConnectionString);
        await own.LimitAsync("ROLE", slots);
        var pools = new List<PoolOnServer>();
        try
        {
            for (var i = 0; i < tenants; i++)
            {
                pools.Add(await PoolOnServer.CreateAsync(
                    options =>
                    {
                        (options.MaxSize, options.MinSize, options.AcquireTimeout) = (4, minSize, TimeSpan.FromSeconds(10));
                        options.Breaker.TripAfter = TimeSpan.FromSeconds(1);
                    },
                    own.Use,
                    server: postgres.ConnectionString));
            }

            await Eventually.True(() => pools.TrueForAll(server => server.Snapshot.Idle == minSize), "each has its minimum");
            await postgres.StopAsync(StopMode.Fast);
            await Task.WhenAll(pools.Select(server => Assert.ThrowsAnyAsync<Exception>(() => server.UseAsync(Cancellation))));
            await postgres.StartAgainAsync(Cancellation);

            await Eventually.True(
                () => pools.TrueForAll(server => server.Pool.Parts.Breaker.IsWell && server.Snapshot.Circuit == CircuitState.Closed),
                "each has found the server");
            await Eventually.True(async () => await own.CountSessionsAsync() == tenants * minSize, "there is the minimum of each, and nothing more");
            await Eventually.True(() => pools.TrueForAll(server => server.Pool.Parts.Clock.IsStale), "each sleeps");
            foreach (var server in pools)
            {
                await server.UseAsync(Cancellation);
                await server.Pool.PauseAsync(Cancellation);
            }
        }
        finally
        {
            await Task.WhenAll(pools.Select(server => server.DisposeAsync().AsTask()));
        }
    }

    /// <summary>Load that goes on finds the connection that the server was found with.</summary>
    [Fact]
    public async Task Recovery_OfAPoolThatIsWanted_KeepsTheConnection()
    {
        await using var proxy = TcpProxy.Start(await Outside.SharedServerAsync());
        proxy.RefuseNew = true;
        await using var server = await PoolOnServer.CreateAsync(
            options =>
            {
                (options.MaxSize, options.Breaker.TripAfter) = (4, TimeSpan.Zero);
                options.Breaker.ProbeInterval = options.Breaker.MaxProbeInterval = TimeSpan.FromMilliseconds(500);
            },
            proxy: proxy);
        await Assert.ThrowsAsync<CircuitOpenException>(() => server.UseAsync(Cancellation));
        proxy.RefuseNew = false;
        await Eventually.True(
            async () =>
            {
                await using var outcome = await server.Pool.TryRentAsync(cancellationToken: Cancellation);
                return outcome.Succeeded;
            },
            "it serves again");

        Assert.Equal((1L, 0L), (server.Snapshot.TotalOpened, server.Snapshot.TotalClosed));
    }

    /// <summary>Nothing is to be opened, so there is nothing to find out before somebody rents.</summary>
    [Fact]
    public async Task LossOfAllThatWasIdle_InAPoolThatNobodyUses_LetsItSleep()
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 4);
        await server.BurstAsync(3, Cancellation);
        await server.WatchingAsync();
        await server.TerminateAllAsync();
        await Eventually.True(() => server.Snapshot is { Idle: 0, Leased: 0, Quarantined: 0 }, "the loss is noticed");

        await Eventually.True(() => server.Pool.Parts.Clock.IsStale, "it sleeps");
        await server.UseAsync(Cancellation);
    }
}
