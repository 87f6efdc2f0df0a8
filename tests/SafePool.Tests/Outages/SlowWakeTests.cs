using SafePool.TestKit;
using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.Outages;

/// <summary>One open that hears nothing is not an outage; silence that lasts is.</summary>
public sealed class SlowWakeTests : IAsyncLifetime
{
    private static readonly TimeSpan _wakesAfter = TimeSpan.FromSeconds(4);

    private TcpProxy _proxy = null!;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => _proxy = TcpProxy.Start(await Outside.SharedServerAsync());

    public ValueTask DisposeAsync() => _proxy.DisposeAsync();

    /// <summary>With the defaults: ConnectTimeout is 3 s, TripAfter is 2 s.</summary>
    [Theory]
    [InlineData(5, 1, false)]
    [InlineData(5, 1, true)]
    [InlineData(15, 1, false)]
    [InlineData(15, 8, false)]
    public async Task Rent_TheDatabaseTakesFourSecondsToWakeUp_IsServedByTheSecondAttempt(int budget, int rents, bool blocking)
    {
        await using var server = await PoolOnServer.CreateAsync(options => (options.MaxSize, options.AcquireTimeout) = (8, TimeSpan.FromSeconds(budget)), proxy: _proxy);
        _proxy.Stall();

        var renting = Enumerable.Range(0, rents).Select(_ => UseAsync(server, blocking)).ToArray();
        await OutageKit.PassAsync(_wakesAfter, Cancellation);
        _proxy.Resume();

        await Task.WhenAll(renting);
        Assert.Equal(0, server.Logged(OutageKit.CircuitOpened));
    }

    [Fact]
    public async Task Rent_OneConnectIsLost_IsServedByTheNext()
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.AcquireTimeout = TimeSpan.FromSeconds(5), proxy: _proxy);
        _proxy.SilenceNew = true;
        var renting = UseAsync(server, blocking: false);
        await Eventually.True(() => _proxy.TotalAccepted == 1, "the first connect is under way");

        // It is counted before it is lost.
        await OutageKit.PassAsync(TimeSpan.FromMilliseconds(200), Cancellation);
        _proxy.SilenceNew = false;

        await renting;
        Assert.Equal((0, 2), (server.Logged(OutageKit.CircuitOpened), _proxy.TotalAccepted));
    }

    [Fact]
    public async Task RentAsync_TheServerStaysSilent_FailsAtOnceAfterTwoConnectTimeouts()
    {
        await using var server = await PoolOnServer.CreateAsync(
            options => (options.ConnectTimeout, options.AcquireTimeout) = (TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(5)), proxy: _proxy);
        _proxy.Stall();
        var rents = new List<Task<TimeSpan>>();

        for (var i = 0; i < 50; i++)
        {
            rents.Add(FailAsync(server));
            await OutageKit.PassAsync(TimeSpan.FromMilliseconds(200), Cancellation);
        }

        var took = (await Task.WhenAll(rents)).Order().ToArray();
        Assert.InRange(took[took.Length / 2], TimeSpan.Zero, TimeSpan.FromMilliseconds(100));
        Assert.Equal(1, server.Logged(OutageKit.CircuitOpened));
        _proxy.Resume();
    }

    private static async Task UseAsync(PoolOnServer server, bool blocking)
    {
        await using var lease = blocking
            ? await Task.Factory.StartNew(() => server.Pool.Rent(), Cancellation, TaskCreationOptions.LongRunning, TaskScheduler.Default)
            : await server.Pool.RentAsync(Cancellation);
        await lease.DoAsync("SELECT 1");
    }

    private static async Task<TimeSpan> FailAsync(PoolOnServer server)
    {
        var begun = TimeProvider.System.GetTimestamp();
        await Assert.ThrowsAnyAsync<PoolException>(() => server.UseAsync(Cancellation));
        return TimeProvider.System.GetElapsedTime(begun);
    }
}
