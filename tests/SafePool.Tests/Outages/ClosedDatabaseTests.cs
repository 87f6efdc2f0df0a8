using SafePool.TestKit;
using SafePool.Tests.Integration;
using SafePool.Tests.Poolers;
using Xunit;

namespace SafePool.Tests.Outages;

/// <summary>An administrator lets nobody new in for a while: on the server (55000), or on PgBouncer ("is disabled").</summary>
public sealed class ClosedDatabaseTests(QuietServer quiet) : IClassFixture<QuietServer>
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task RentAsync_TheDatabaseAllowsNoConnections_IsServedOnceItDoesAgain()
    {
        await using var own = await OwnRole.CreateAsync(quiet.ConnectionString);
        await own.AllowConnectionsAsync(false);
        await using var server = await CreateAsync(own);

        var waiting = server.UseAsync(Cancellation);
        await Eventually.True(() => server.Snapshot.LastConnectError is not null, "it was refused");
        Assert.Contains("55000", server.Snapshot.LastConnectError!.Message, StringComparison.Ordinal);
        Assert.False(waiting.IsCompleted);
        await own.AllowConnectionsAsync(true);

        await waiting;
    }

    [Fact]
    public async Task RentAsync_TheDatabaseAllowsNoMoreConnections_ServesFromThoseThatThereAre()
    {
        await using var own = await OwnRole.CreateAsync(quiet.ConnectionString);
        await using var server = await CreateAsync(own);
        var held = await server.Pool.RentAsync(2, Cancellation);
        await OutageKit.PassAsync(TimeSpan.FromSeconds(1.1), Cancellation);
        await own.AllowConnectionsAsync(false);

        var rents = Enumerable.Range(0, 10).Select(_ => server.UseAsync(Cancellation)).ToArray();
        await Eventually.True(() => server.Snapshot.EffectiveMaxSize == 2, "the third was refused");
        await held.ReturnAllAsync();

        await Task.WhenAll(rents);
        Assert.Equal((CircuitState.Closed, 2L), (server.Snapshot.Circuit, server.Snapshot.TotalOpened));
        await own.AllowConnectionsAsync(true);
        await server.BurstAsync(4, Cancellation);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task RentAsync_ThePoolersDatabaseIsDisabled_IsServedOnceItIsEnabled(bool hasConnections)
    {
        await using var gateway = await Gateway.BouncerAsync(PoolMode.Session, configure: options =>
        {
            options.Databases.Clear();
            options.Databases["postgres"] = "";
        });
        await using var server = await gateway.PoolAsync(
            options => (options.MaxSize, options.WatchServer, options.AcquireTimeout, options.Breaker.TripAfter) = (4, false, TimeSpan.FromMinutes(1), TimeSpan.FromSeconds(30)));
        var held = hasConnections ? await server.Pool.RentAsync(1, Cancellation) : [];
        await OutageKit.PassAsync(TimeSpan.FromSeconds(1.1), Cancellation);
        await gateway.Bouncer!.CommandAsync("DISABLE postgres", Cancellation);

        var waiting = server.UseAsync(Cancellation);
        await Eventually.True(() => server.Snapshot.LastConnectError is not null, "it was refused");
        Assert.Contains("is disabled", server.Snapshot.LastConnectError!.Message, StringComparison.Ordinal);
        Assert.False(waiting.IsCompleted);
        await gateway.Bouncer!.CommandAsync("ENABLE postgres", Cancellation);

        await waiting;
        Assert.Equal(CircuitState.Closed, server.Snapshot.Circuit);
        await held.ReturnAllAsync();
    }

    private Task<PoolOnServer> CreateAsync(OwnRole own)
        => PoolOnServer.CreateAsync(
            options => (options.MaxSize, options.WatchServer, options.AcquireTimeout, options.Breaker.TripAfter)
                = (4, false, TimeSpan.FromMinutes(1), TimeSpan.FromSeconds(30)),
            own.Use,
            server: quiet.ConnectionString);
}
