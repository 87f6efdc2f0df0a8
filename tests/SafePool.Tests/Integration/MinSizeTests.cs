using Npgsql;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Integration;

public sealed class MinSizeTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    [Trait("Conformance", "6")]
    [Trait("Conformance", "48")]
    public async Task Return_OfALeaseWhoseBackendWasTerminated_RestoresMinSizeWithoutAnotherRent()
    {
        await using var server = await PoolOnServer.CreateAsync(options => (options.MinSize, options.MaxSize) = (3, 6));
        await server.Pool.WarmUpAsync(Cancellation);
        var before = await server.SessionsAsync();
        var lease = await server.Pool.RentAsync(Cancellation);
        var broken = lease.Session();
        await server.TerminateAsync(broken);
        await Assert.ThrowsAnyAsync<NpgsqlException>(() => lease.DoAsync("SELECT 1"));

        await lease.DisposeAsync();

        await server.SessionsBecomeAsync(3);
        Assert.DoesNotContain(broken, await server.SessionsAsync());
        await Eventually.True(() => server.Snapshot is { Idle: 3, Opening: 0, Leased: 0 }, "three are idle");
        Assert.Equal(3, before.Length);
    }

    [Fact]
    [Trait("Conformance", "48")]
    public async Task Return_OfABrokenLeaseWhileSomebodyWaits_GivesTheWaiterAFreshConnection()
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1);
        var lease = await server.Pool.RentAsync(Cancellation);
        var broken = lease.Session();
        var waiting = server.Pool.RentAsync(Cancellation).AsTask();
        await Eventually.True(() => server.Snapshot.Waiting == 1, "the second waits");
        await server.TerminateAsync(broken);
        await Assert.ThrowsAnyAsync<NpgsqlException>(() => lease.DoAsync("SELECT 1"));

        await lease.DisposeAsync();

        await using var next = await waiting;
        Assert.NotEqual(broken, await next.AskAsync<int>("SELECT pg_backend_pid()"));
        Assert.Equal((1, 1L), (server.Snapshot.Leased, server.Snapshot.TotalClosed));
    }

    [Fact]
    [Trait("Conformance", "6")]
    [Trait("Conformance", "62")]
    public async Task Clear_WithIdleAndLeased_ReplacesAllAndRestoresMinSizeWithoutOvershoot()
    {
        await using var proxy = TcpProxy.Start(await Outside.SharedServerAsync());
        await using var server = await PoolOnServer.CreateAsync(
            options => (options.MinSize, options.MaxSize, options.WatchServer) = (3, 3, false), proxy: proxy);
        await server.Pool.WarmUpAsync(Cancellation);
        var before = await server.SessionsAsync();
        var lease = await server.Pool.RentAsync(Cancellation);

        server.Pool.Clear();

        await Eventually.True(async () => (await server.SessionsAsync()).Intersect(before).SequenceEqual([lease.Session()]), "only the leased one is left");
        Assert.Equal(1, await lease.AskAsync<int>("SELECT 1"));
        await lease.DisposeAsync();
        await Eventually.True(async () => (await server.SessionsAsync()) is { Length: 3 } now && !now.Intersect(before).Any(), "three new ones are there");
        Assert.True(proxy.PeakConnections <= 3 + 1, $"{proxy.PeakConnections} sockets at once, the control connection included");
        await Eventually.True(() => server.Snapshot is { TotalOpened: 6, TotalClosed: 3 }, "three were closed and three opened, no more");
    }
}
