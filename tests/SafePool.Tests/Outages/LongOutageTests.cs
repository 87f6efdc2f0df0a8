using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.Outages;

/// <summary>The server stays away for longer than the pool's patience: the circuit opens, and closes by itself (design decision D9).</summary>
public sealed class LongOutageTests
{
    private const int MaxSize = 4;
    private const int MinSize = 2;

    private static readonly TimeSpan _second = TimeSpan.FromSeconds(1);

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    [Trait("Conformance", "75")]
    [Trait("Conformance", "79")]
    [Trait("Conformance", "82")]
    [Trait("Conformance", "85")]
    public async Task Outage_LongerThanTripAfter_FailsEverybodyWithTheCauseUntilTheServerIsBack()
    {
        await using var postgres = await PostgresServer.StartAsync(cancellationToken: Cancellation);
        await using var proxy = TcpProxy.Start(postgres.ConnectionString);
        await using var server = await CreateAsync(proxy, postgres.ConnectionString);
        await server.Pool.FillAsync(MaxSize, Cancellation);
        await server.WatchingAsync();
        await postgres.StopAsync();
        var stopped = TimeProvider.System.GetTimestamp();

        var waiting = Enumerable.Range(0, 10).Select(_ => server.Pool.RentAsync(Cancellation).AsTask()).ToArray();
        var blocked = Task.Factory.StartNew(() => server.Pool.Rent(), Cancellation, TaskCreationOptions.LongRunning, TaskScheduler.Default);

        foreach (var rent in waiting.Append(blocked))
        {
            AssertTellsTheCause(await Assert.ThrowsAsync<CircuitOpenException>(() => rent.WaitAsync(15 * _second, TimeProvider.System, Cancellation)));
        }

        // None of these connects: the proxy would see hundreds.
        var warmUp = server.Pool.WarmUpAsync(Cancellation);
        for (var i = 0; i < 300; i++)
        {
            AssertTellsTheCause(await Assert.ThrowsAsync<CircuitOpenException>(async () => await server.Pool.RentAsync(Cancellation)));
        }

        await OutageKit.PassAsync(2 * _second, Cancellation);
        Assert.False(warmUp.IsCompleted);
        AssertAtMostFiveInAnySecond([.. proxy.OpenedAt.Where(opened => opened > stopped)]);
        Assert.NotEqual(CircuitState.Closed, server.Snapshot.Circuit);
        await postgres.StartAgainAsync(Cancellation);

        await Eventually.True(() => server.Snapshot is { Circuit: CircuitState.Closed, LastConnectError: null }, "the circuit closes by itself");
        await warmUp;
        Assert.True(server.Snapshot.Idle >= MinSize);
        await server.BurstAsync(MaxSize, Cancellation);
        Assert.Equal(
            (1, 1, 1, 0L),
            (server.Logged(OutageKit.OpensFail), server.Logged(OutageKit.CircuitOpened), server.Logged(OutageKit.CircuitClosed), server.Snapshot.TotalTimeouts));
        await Outstanding.NoneAsync(server.Pool);
    }

    [Fact]
    public async Task RentAsync_CircuitIsOpenAndSomethingIsIdle_IsServed()
    {
        await using var proxy = TcpProxy.Start(await Outside.SharedServerAsync());
        await using var server = await CreateAsync(proxy);
        var leases = await server.Pool.RentAsync(2, Cancellation);

        // For a second an open that succeeded is proof enough that the next will.
        await OutageKit.PassAsync(TimeSpan.FromSeconds(1.1), Cancellation);
        proxy.RefuseNew = true;
        await Assert.ThrowsAsync<CircuitOpenException>(async () => await server.Pool.RentAsync(Cancellation));

        await leases.ReturnAllAsync();

        var sessions = leases.Length;
        for (var i = 0; i < 20; i++)
        {
            await server.UseAsync(Cancellation);
        }

        Assert.True(server.Pool.TryRent(out var last));
        await last.DisposeAsync();
        Assert.Equal((sessions, 2L, 0L), (server.Snapshot.Idle, server.Snapshot.TotalOpened, server.Snapshot.TotalClosed));
        Assert.NotEqual(CircuitState.Closed, server.Snapshot.Circuit);
    }

    [Fact]
    [Trait("Conformance", "7")]
    [Trait("Conformance", "84")]
    public async Task WarmUpAsync_DuringAnOutage_GivesUpAfterItsBudgetWithTheCause()
    {
        await using var proxy = TcpProxy.Start(await Outside.SharedServerAsync());
        proxy.RefuseNew = true;
        await using var server = await CreateAsync(proxy, acquireTimeout: _second);

        var error = await Assert.ThrowsAnyAsync<NpgsqlException>(
            () => server.Pool.WarmUpAsync(Cancellation).WaitAsync(15 * _second, TimeProvider.System, Cancellation));

        Assert.NotNull(error.InnerException);
        proxy.RefuseNew = false;
        await server.Pool.WarmUpAsync(Cancellation);
        Assert.True(server.Snapshot.Idle >= MinSize);
    }

    /// <summary>An administrator knows better than the breaker.</summary>
    [Fact]
    [Trait("Conformance", "81")]
    public async Task Clear_CircuitIsOpenAndTheServerIsBack_ServesTheNextRent()
    {
        await using var proxy = TcpProxy.Start(await Outside.SharedServerAsync());
        proxy.RefuseNew = true;
        await using var server = await CreateAsync(
            proxy, configure: options => options.Breaker.ProbeInterval = options.Breaker.MaxProbeInterval = TimeSpan.FromMinutes(1));
        await Assert.ThrowsAsync<CircuitOpenException>(async () => await server.Pool.RentAsync(Cancellation));
        proxy.RefuseNew = false;
        await Assert.ThrowsAsync<CircuitOpenException>(async () => await server.Pool.RentAsync(Cancellation));

        server.Pool.Clear();

        await server.UseAsync(Cancellation);
        Assert.Equal(CircuitState.Closed, server.Snapshot.Circuit);
    }

    private static void AssertTellsTheCause(CircuitOpenException error)
    {
        Assert.IsAssignableFrom<NpgsqlException>(error.InnerException);
        Assert.Contains("cannot connect", error.Message, StringComparison.Ordinal);
        Assert.NotNull(error.RetryAfter);
        Assert.False(error.IsTransient);
    }

    private static void AssertAtMostFiveInAnySecond(long[] opened)
    {
        Assert.NotEmpty(opened);
        for (var i = 5; i < opened.Length; i++)
        {
            Assert.True(TimeProvider.System.GetElapsedTime(opened[i - 5], opened[i]) > _second, $"six connects within a second, the last of them number {i}");
        }
    }

    private static Task<PoolOnServer> CreateAsync(
        TcpProxy proxy, string? postgres = null, TimeSpan? acquireTimeout = null, Action<ConnectionPoolOptions>? configure = null)
        => PoolOnServer.CreateAsync(
            options =>
            {
                (options.MaxSize, options.MinSize) = (MaxSize, MinSize);
                options.AcquireTimeout = acquireTimeout ?? TimeSpan.FromMinutes(1);
                options.Breaker.TripAfter = TimeSpan.FromMilliseconds(500);
                configure?.Invoke(options);
            },
            server: postgres,
            proxy: proxy);
}
