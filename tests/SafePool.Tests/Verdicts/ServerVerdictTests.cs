using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.Verdicts;

/// <summary>Pools that run dry because of the network or the server.</summary>
public sealed class ServerVerdictTests : IAsyncLifetime
{
    private TcpProxy _proxy = null!;

    public async ValueTask InitializeAsync() => _proxy = TcpProxy.Start(await Outside.SharedServerAsync());

    public ValueTask DisposeAsync() => _proxy.DisposeAsync();

    [Fact]
    [Trait("Conformance", "85")]
    public async Task ServerUnreachable_AcceptsAndSaysNothing_IsToldToThoseWhoQueue()
    {
        await using var scene = await Scene.CreateAsync(
            3,
            options =>
            {
                (options.ConnectTimeout, options.Breaker.TripAfter) = (TimeSpan.FromSeconds(1), TimeSpan.FromMinutes(1));
                options.Breaker.ProbeInterval = options.Breaker.MaxProbeInterval = TimeSpan.FromMilliseconds(1);
            },
            proxy: _proxy);
        _proxy.Stall();

        // An open ends after one second, or after three when Npgsql waits for its own cancellation; the next one has begun when the time is up.
        var error = await scene.FailAsync<ConnectTimeoutException>(TimeSpan.FromSeconds(4));

        Assert.IsType<NpgsqlException>(error.InnerException);
        AssertFirst(error.Diagnosis, PoolVerdict.ServerUnreachable, 3);
        Assert.Equal((0, 1), (error.Snapshot.Leased, error.Snapshot.Opening));
        Assert.DoesNotContain("exhausted", error.Message, StringComparison.Ordinal);
        VerdictPage.Shows(error);
    }

    [Fact]
    [Trait("Conformance", "85")]
    public async Task ServerUnreachable_TheServerIsStopped_EveryCallerIsToldItsError()
    {
        await using var own = await PostgresServer.StartAsync(cancellationToken: TestContext.Current.CancellationToken);
        await using var scene = await Scene.CreateAsync(2, server: own.ConnectionString);
        await scene.Service.CountAsync();
        await own.StopAsync();
        scene.Pool.Clear();

        var errors = await Task.WhenAll(Enumerable.Range(0, 5).Select(_ => scene.FailAsync<ConnectTimeoutException>()));

        Assert.All(errors, error => Assert.IsType<NpgsqlException>(error.InnerException));
        Assert.All(errors, error => Assert.DoesNotContain("exhausted", error.Message, StringComparison.Ordinal));
    }

    [Fact]
    public async Task ServerUnreachable_CommandsGetNoAnswer_IsKnownWhereTheServerIsAsked()
    {
        await using var scene = await Scene.CreateAsync(2, options => options.Leaks.InspectBackends = true, proxy: _proxy);
        scene.Start(2, service => service.ReportAsync());
        await scene.BusyAsync(2);
        _proxy.Stall();

        var error = await scene.FailAsync<PoolExhaustedException>(TimeSpan.FromSeconds(5));

        AssertFirst(error.Diagnosis, PoolVerdict.ServerUnreachable, 2);
        Assert.StartsWith("2 commands have had no answer for ", error.Diagnosis.Evidence[0].Text, StringComparison.Ordinal);
        VerdictPage.Shows(error);
        _proxy.ResetAll();
        _proxy.Resume();
    }

    [Fact]
    [Trait("Conformance", "85")]
    public async Task SlowConnects_NoOpenHasFailed_SaysForHowLongOneHasBeenOpening()
    {
        await using var scene = await Scene.CreateAsync(4, proxy: _proxy);
        await scene.Service.CountAsync();
        scene.Pool.Clear();
        _proxy.AcceptDelay = TimeSpan.FromSeconds(60);

        var error = await scene.FailAsync<ConnectTimeoutException>();

        AssertFirst(error.Diagnosis, PoolVerdict.SlowConnects, 4);
        Assert.Matches(@"^A connection has been opening for 1\.\d s; the last one took .* No open has failed\.$", error.Diagnosis.Evidence[0].Text);
        Assert.Equal(AcquirePhase.Opening, error.Phase);
        VerdictPage.Shows(error);
    }

    [Fact]
    public async Task ServerFull_ThePoolHasSome_IsExhaustedAndRecoversByItself()
    {
        await using var full = await FullServer.StartAsync(room: 1);
        await using var scene = await Scene.CreateAsync(4, server: full.ConnectionString);
        scene.Start(1, service => service.QuoteAsync());
        await scene.HeldAsync(1, holder => holder.Activity == LeaseActivity.Idle);

        var error = await scene.FailAsync<PoolExhaustedException>();

        AssertFirst(error.Diagnosis, PoolVerdict.ServerFull, 3);
        Assert.Contains("while the pool has 1 of 4", error.Diagnosis.Evidence[0].Text, StringComparison.Ordinal);
        Assert.Equal(PoolVerdict.IdleHolders, error.Diagnosis.Evidence[1].Verdict);
        Assert.Contains($"Besides, idle holders: 1 lease was rented at {Sites.Of(nameof(OrderService.QuoteAsync))}", error.Message, StringComparison.Ordinal);
        Assert.True(error.Snapshot.LastConnectError is PostgresException { SqlState: "53300" });
        VerdictPage.Shows(error);
        await full.MakeRoomAsync();
        await using var served = await scene.Pool.RentAsync(
            new RentOptions { AcquireTimeout = TimeSpan.FromSeconds(30) }, TestContext.Current.CancellationToken);
    }

    [Fact]
    [Trait("Conformance", "85")]
    public async Task ServerFull_ThePoolHasNone_CannotConnectAndRecoversByItself()
    {
        await using var full = await FullServer.StartAsync(room: 0);
        await using var scene = await Scene.CreateAsync(
            4,
            options => (options.Breaker.ProbeInterval, options.Breaker.MaxProbeInterval) = (TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(1)),
            server: full.ConnectionString);

        var error = await scene.FailAsync<ConnectTimeoutException>();

        AssertFirst(error.Diagnosis, PoolVerdict.ServerFull, 4);
        VerdictPage.Shows(error);
        await Eventually.True(() => scene.Snapshot.Circuit != CircuitState.Closed, "a server that is full for too long opens the circuit");
        var atOnce = await scene.FailAsync<CircuitOpenException>(TimeSpan.FromMinutes(1));
        Assert.IsType<PostgresException>(atOnce.InnerException);
        await full.MakeRoomAsync();
        await Eventually.True(() => scene.Snapshot.Circuit == CircuitState.Closed, "a probe closes it");
        await (await scene.Pool.RentAsync(TestContext.Current.CancellationToken)).DisposeAsync();
    }

    /// <summary>A server that refuses the control connection has answered: it must not pass for one that is down.</summary>
    [Fact]
    public async Task SlowQueries_TheServerIsFullAndRefusesToBeAsked_IsNotTakenForUnreachable()
    {
        await using var full = await FullServer.StartAsync(room: 2);
        await using var scene = await Scene.CreateAsync(3, options => options.Leaks.InspectBackends = true, server: full.ConnectionString);
        scene.Start(2, service => service.ReportAsync());
        await scene.BusyAsync(2);

        var error = await scene.FailAsync<PoolExhaustedException>();

        AssertFirst(error.Diagnosis, PoolVerdict.SlowQueries, 2);
        Assert.Equal(PoolVerdict.ServerFull, error.Diagnosis.Evidence[1].Verdict);
    }

    private static void AssertFirst(Diagnosis diagnosis, PoolVerdict verdict, int places)
        => Assert.Equal((verdict, places), (diagnosis.Verdict, diagnosis.Evidence[0].Places));
}
