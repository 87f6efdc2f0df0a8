using SafePool.TestKit;
using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.Outages;

/// <summary>A network that swallows everything while idle connections are asked for a sign of life: whoever asks waits only so long.</summary>
public sealed class SilentServerTests : IAsyncLifetime
{
    private const int MaxSize = 4;

    // That no patience of the pool's own comes near to, nor what a busy machine adds to one.
    private static readonly TimeSpan _bound = TimeSpan.FromSeconds(15);

    private TcpProxy _proxy = null!;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => _proxy = TcpProxy.Start(await Outside.SharedServerAsync());

    public ValueTask DisposeAsync() => _proxy.DisposeAsync();

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    [Trait("Conformance", "51")]
    public async Task Rent_TheProbeHasNoAnswer_IsOverWithItsBudgetAndThePlacesComeBack(bool blocking)
    {
        await using var server = await CreateAsync(quiet: TimeSpan.FromMilliseconds(250));
        await server.Pool.FillAsync(MaxSize, Cancellation);
        await OutageKit.PassAsync(TimeSpan.FromSeconds(1.5), Cancellation);
        _proxy.Stall();
        var budget = new RentOptions { AcquireTimeout = TimeSpan.FromMilliseconds(300) };

        var rent = blocking
            ? Task.Factory.StartNew(() => server.Pool.Rent(budget), Cancellation, TaskCreationOptions.LongRunning, TaskScheduler.Default)
            : server.Pool.RentAsync(budget, Cancellation).AsTask();

        // On a busy machine the sweep, which has come first, may hold what the rent would have probed.
        var error = await Assert.ThrowsAnyAsync<PoolException>(() => rent.WaitAsync(_bound, TimeProvider.System, Cancellation));
        Assert.True(error is ConnectTimeoutException { Phase: AcquirePhase.Probing } or PoolExhaustedException, error.Message);
        _proxy.Resume();
        await Outstanding.NoneAsync(server.Pool, _bound);
        await server.BurstAsync(MaxSize, Cancellation);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    [Trait("Conformance", "51")]
    [Trait("Conformance", "53")]
    public async Task Rents_TheProbesHaveNoAnswer_AreAllServedOnceThereIsOneAgain(bool broken)
    {
        await using var server = await CreateAsync(quiet: TimeSpan.FromMilliseconds(250));
        await server.Pool.FillAsync(MaxSize, Cancellation);
        await OutageKit.PassAsync(TimeSpan.FromSeconds(1.5), Cancellation);
        _proxy.Stall();

        var rents = Enumerable.Range(0, 2 * MaxSize).Select(_ => server.UseAsync(Cancellation)).ToArray();
        await Eventually.True(() => server.Logged(OutageKit.ProbeFailed) > 0, "a probe is given up", _bound);
        if (broken)
        {
            _proxy.ResetAll();
        }

        _proxy.Resume();

        await Task.WhenAll(rents).WaitAsync(TimeSpan.FromSeconds(30), TimeProvider.System, Cancellation);
        await Outstanding.NoneAsync(server.Pool, _bound);
        await server.BurstAsync(MaxSize, Cancellation);
        Assert.Equal((0L, 0), (server.Snapshot.TotalTimeouts, server.Logged(OutageKit.CircuitOpened)));
        Assert.InRange(_proxy.PeakConnections, 1, MaxSize + 1);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    [Trait("Conformance", "51")]
    [Trait("Conformance", "53")]
    public async Task Maintenance_TheProbeHasNoAnswer_GivesTheIdleUpAndThePlacesComeBack(bool watches)
    {
        await using var server = await CreateAsync(idle: TimeSpan.FromSeconds(1), watches: watches);
        await server.Pool.FillAsync(MaxSize, Cancellation);
        if (watches)
        {
            await server.WatchingAsync();
        }

        _proxy.Stall();

        await Eventually.True(() => server.Snapshot.Idle == 0, "what does not answer is given up", _bound);
        await Eventually.True(() => server.Logged(OutageKit.ProbeFailed) == 1, "it is said, once", _bound);
        _proxy.Resume();
        await Outstanding.NoneAsync(server.Pool, _bound);
        await server.BurstAsync(MaxSize, Cancellation);
        Assert.InRange(_proxy.PeakConnections, 1, MaxSize + 1);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task DisposeAsync_WhileNothingAnswers_IsBounded(bool watches)
    {
        var server = await CreateAsync(idle: TimeSpan.FromSeconds(1), watches: watches);
        await server.Pool.FillAsync(MaxSize, Cancellation);
        if (watches)
        {
            await server.WatchingAsync();
        }

        _proxy.Stall();

        await server.DisposeAsync().AsTask().WaitAsync(_bound, TimeProvider.System, Cancellation);

        // One may have been asked for a sign of life.
        await Eventually.True(() => server.Snapshot is { Idle: 0, Leased: 0 }, "nothing is left", _bound);
    }

    private Task<PoolOnServer> CreateAsync(TimeSpan? quiet = null, TimeSpan? idle = null, bool watches = false)
        => PoolOnServer.CreateAsync(
            options =>
            {
                (options.MaxSize, options.WatchServer, options.Reset) = (MaxSize, watches, SessionReset.Rollback);
                options.ProbeAfterQuiet = quiet ?? Timeout.InfiniteTimeSpan;
                options.ProbeAfterIdle = idle ?? Timeout.InfiniteTimeSpan;
                options.AcquireTimeout = options.Breaker.TripAfter = TimeSpan.FromSeconds(30);
            },
            proxy: _proxy);
}
