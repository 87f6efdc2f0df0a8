using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.Outages;

/// <summary>The same while the pool has work to do.</summary>
public sealed class SilentConnectionsUnderLoadTests : SilentConnections
{
    /// <summary>In a busy pool nothing is idle that could be asked; what has answered is known all the same.</summary>
    [Theory]
    [InlineData(4, 1, 8, true)]
    [InlineData(4, 1, 8, false)]
    [InlineData(8, 2, 16, true)]
    [InlineData(8, 2, 5, false)]
    public async Task Load_SomeConnectionsAreSilent_TheOthersStay(int size, int silent, int workers, bool watches)
    {
        await using var server = await CreateAsync(size, watches);
        await server.Pool.FillAsync(size, Cancellation);
        var sessions = await server.SessionsAsync();
        await OutageKit.PassAsync(LongerThanQuiet, Cancellation);
        await SwallowAsync(server, sessions[..silent]);

        using var enough = new CancellationTokenSource(TimeSpan.FromSeconds(7));
        await Task.WhenAll(Enumerable.Range(0, workers).Select(_ => WorkAsync(server, enough.Token)));

        await AssertLostAsync(server, sessions, silent);
    }

    /// <summary>Where there are several hosts the others at the same one are asked; those elsewhere prove nothing, and are not concerned.</summary>
    [Fact]
    public async Task Load_OnTwoHostsAndOneConnectionIsSilent_TheOthersStay()
    {
        const int Size = 8;
        await using var other = TcpProxy.Start(await Outside.SharedServerAsync());
        await using var server = await CreateAsync(
            Size,
            watches: false,
            text => (text.Host, text.LoadBalanceHosts) = ($"127.0.0.1:{Proxy.Port},127.0.0.1:{other.Port}", true));
        await server.Pool.FillAsync(Size, Cancellation);
        await Eventually.True(
            async () =>
            {
                await server.UseAsync(Cancellation);
                return (Proxy.OpenConnections, other.OpenConnections) == (Size / 2, Size / 2);
            },
            "each has its share",
            Bound);
        await OutageKit.PassAsync(LongerThanQuiet, Cancellation);

        // Without those that have only knocked.
        var sessions = await server.SessionsAsync();
        var closed = server.Snapshot.TotalClosed;
        foreach (var session in sessions)
        {
            if (Proxy.Swallow(await PortOfAsync(server, session)))
            {
                break;
            }
        }

        using var enough = new CancellationTokenSource(TimeSpan.FromSeconds(7));
        await Task.WhenAll(Enumerable.Range(0, Size).Select(_ => WorkAsync(server, enough.Token)));

        // One more may have moved to where the lost one was.
        await Outstanding.NoneAsync(server.Pool, Bound);
        Assert.Equal(0, server.Logged(OutageKit.ProbeFailed));
        Assert.InRange(server.Snapshot.TotalClosed - closed, 1, 2);
        Assert.InRange(sessions.Intersect(await server.SessionsAsync()).Count(), Size - 2, Size);
    }

    private static async Task WorkAsync(PoolOnServer server, CancellationToken enough)
    {
        while (!enough.IsCancellationRequested)
        {
            await using var lease = await server.Pool.RentAsync(Cancellation);
            await lease.DoAsync("SELECT pg_sleep(0.01)");
        }
    }
}
