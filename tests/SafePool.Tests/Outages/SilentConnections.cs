using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.Outages;

/// <summary>Something between the pool and its server drops some connections without a word; the others live, and stay.</summary>
public abstract class SilentConnections : IAsyncLifetime
{
    // When the sweep has sent the last reset, and since that again so long that what it has heard is out of date.
    protected static readonly TimeSpan LongerThanQuiet = TimeSpan.FromSeconds(4);

    // That no patience of the pool's own comes near to, nor what a busy machine adds to one.
    protected static readonly TimeSpan Bound = TimeSpan.FromSeconds(20);

    private protected TcpProxy Proxy { get; private set; } = null!;

    protected static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => Proxy = TcpProxy.Start(await Outside.SharedServerAsync());

    public ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        return Proxy.DisposeAsync();
    }

    private protected static async Task AssertLostAsync(PoolOnServer server, int[] sessions, int silent)
    {
        await Eventually.True(() => server.Snapshot.TotalClosed >= silent, "what was silent is closed", Bound);
        await Outstanding.NoneAsync(server.Pool, Bound);
        var left = sessions.Intersect(await server.SessionsAsync()).Count();
        Assert.Equal((0, (long)silent), (server.Logged(OutageKit.ProbeFailed), server.Snapshot.TotalClosed));
        Assert.InRange(left, sessions.Length - silent, sessions.Length);
    }

    private protected async Task SwallowAsync(PoolOnServer server, int[] sessions)
    {
        foreach (var session in sessions)
        {
            Assert.True(Proxy.Swallow(await PortOfAsync(server, session)));
        }
    }

    private protected static Task<int> PortOfAsync(PoolOnServer server, int session)
        => server.AskAsync<int>($"SELECT client_port FROM pg_stat_activity WHERE pid = {session}");

    private protected Task<PoolOnServer> CreateAsync(int size, bool watches, Action<NpgsqlConnectionStringBuilder>? text = null)
        => PoolOnServer.CreateAsync(
            options =>
            {
                (options.MaxSize, options.WatchServer) = (size, watches);
                options.AcquireTimeout = options.Breaker.TripAfter = TimeSpan.FromSeconds(30);
            },
            text,
            proxy: Proxy);
}
