using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Diagnostics.HealthChecks;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Npgsql;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Hosting.Tests;

public sealed class HealthTests
{
    private static readonly CancellationToken _test = TestContext.Current.CancellationToken;

    [Fact]
    public async Task Checks_OverHttp_AnswerByTag()
    {
        var server = await Web.ServerAsync();
        await using var service = await StartAsync(options => options.ConnectionString = server);
        using var client = Web.Client(service);
        var pool = service.Services.GetRequiredService<ConnectionPool>();

        Assert.Equal((HttpStatusCode.OK, HttpStatusCode.OK), await StatusesAsync(client));
        await pool.PauseAsync(_test);
        Assert.Equal((HttpStatusCode.ServiceUnavailable, HttpStatusCode.OK), await StatusesAsync(client));
        pool.Resume();
        Assert.Equal((HttpStatusCode.OK, HttpStatusCode.OK), await StatusesAsync(client));
    }

    [Fact]
    public async Task Readiness_TheServerIsAway_IsUnhealthyWhileLivenessIsNot()
    {
        await using var service = await StartAsync(options =>
        {
            options.ConnectionString = "Host=127.0.0.1;Port=1;Username=app";
            options.MinSize = 1;
            options.Breaker.TripAfter = TimeSpan.FromMilliseconds(100);
        });

        await Eventually.True(async () => (await ReadinessAsync(service)).Description!.Contains("circuit is open", StringComparison.Ordinal), "the circuit is open");

        var readiness = await ReadinessAsync(service);
        Assert.Equal((HealthStatus.Unhealthy, "Open", "NpgsqlException"), (readiness.Status, readiness.Data["circuit"], readiness.Data["lastConnectError"]));
        Assert.Equal(HealthStatus.Healthy, (await CheckAsync(service, "live")).Status);
    }

    [Fact]
    public async Task Readiness_UntilTheMinimumIsOpen_IsUnhealthyAndFromThenOnNot()
    {
        var server = await Web.ServerAsync();
        var gate = new TaskCompletionSource();
        await using var service = await StartAsync(options =>
        {
            options.ConnectionString = server;
            options.MinSize = 2;
            options.PhysicalConnectionOpened = async (_, token) => await gate.Task.WaitAsync(token);
        });

        var before = await ReadinessAsync(service);
        gate.SetResult();
        await Eventually.True(async () => (await ReadinessAsync(service)).Status == HealthStatus.Healthy, "it is ready");

        Assert.Equal((HealthStatus.Unhealthy, true), (before.Status, before.Description!.Contains("warming up: 0 of 2", StringComparison.Ordinal)));
        service.Services.GetRequiredService<ConnectionPool>().Clear();
        Assert.Equal(HealthStatus.Healthy, (await ReadinessAsync(service)).Status);
    }

    [Fact]
    public async Task Readiness_CallersWait_IsDegradedAndTakesNoPlaceItself()
    {
        var server = await Web.ServerAsync();
        await using var service = await StartAsync(options => (options.ConnectionString, options.MaxSize) = (server, 1));
        var pool = service.Services.GetRequiredService<ConnectionPool>();
        var lease = await pool.RentAsync(_test);
        var waiting = pool.RentAsync(_test).AsTask();

        var check = await ReadinessAsync(service);

        Assert.Equal((HealthStatus.Degraded, 1, 1), (check.Status, (int)check.Data["leased"], (int)check.Data["waiting"]));
        Assert.Contains("1 of 1 leased, 1 waiting", check.Description, StringComparison.Ordinal);
        await lease.DisposeAsync();
        await (await waiting).DisposeAsync();
    }

    [Fact]
    public async Task Readiness_ALeaseIsOverdue_IsDegradedAndNamesIt()
    {
        var server = await Web.ServerAsync();
        await using var service = await StartAsync(options =>
        {
            options.ConnectionString = server;
            options.Leaks.Threshold = TimeSpan.FromMilliseconds(50);
        });
        await using var lease = await service.Services.GetRequiredService<ConnectionPool>().RentAsync(_test);

        await Eventually.True(async () => (await ReadinessAsync(service)).Status == HealthStatus.Degraded, "it is degraded");

        var check = await ReadinessAsync(service);
        Assert.Contains("HealthTests.cs", check.Description, StringComparison.Ordinal);
        Assert.Equal(1, check.Data["overdue"]);
    }

    [Fact]
    public async Task Readiness_TheServerIsNearlyFull_IsDegraded()
    {
        await using var server = await PostgresServer.StartAsync(options => options.Settings["max_connections"] = "10", _test);
        await using var service = await StartAsync(options => (options.ConnectionString, options.WatchServer) = (server.ConnectionString, false));
        var strangers = new List<NpgsqlConnection>();
        for (var i = 0; i < 8; i++)
        {
            strangers.Add(new NpgsqlConnection(new NpgsqlConnectionStringBuilder(server.ConnectionString) { Pooling = false }.ConnectionString));
            await strangers[i].OpenAsync(_test);
        }

        await Eventually.True(async () => (await ReadinessAsync(service)).Status == HealthStatus.Degraded, "it is degraded");

        var check = await ReadinessAsync(service);
        Assert.Contains("of whose 10 connections 90 % are in use", check.Description, StringComparison.Ordinal);
        await Task.WhenAll(strangers.Select(stranger => stranger.DisposeAsync().AsTask()));
    }

    [Fact]
    public async Task Liveness_MaintenanceDoesNotRun_IsUnhealthy()
    {
        var clock = new StoppedClock();
        await using var pool = new ConnectionPool(new ConnectionPoolOptions { ConnectionString = "Host=localhost;Username=app" }, timeProvider: clock);
        var check = new PoolLiveness(pool);
        var context = new HealthCheckContext { Registration = new HealthCheckRegistration("pool", check, null, null) };

        Assert.Equal(HealthStatus.Healthy, (await check.CheckHealthAsync(context, _test)).Status);
        clock.Now = 30 * clock.TimestampFrequency;
        Assert.Equal(HealthStatus.Unhealthy, (await check.CheckHealthAsync(context, _test)).Status);
    }

    /// <summary>Whose timers never fire, as if no thread had time for them.</summary>
    private sealed class StoppedClock : TimeProvider
    {
        public long Now { get; set; }

        public override long GetTimestamp() => Now;

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
            => base.CreateTimer(callback, state, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    private static async Task<WebApplication> StartAsync(Action<ConnectionPoolOptions> configure)
    {
        var builder = Web.CreateBuilder();
        builder.Services.AddSafePool(configure);
        builder.Services.AddHealthChecks().AddSafePoolReadiness().AddSafePoolLiveness();
        var service = builder.Build();
        service.MapHealthChecks("/health/ready", new HealthCheckOptions { Predicate = check => check.Tags.Contains("ready") });
        service.MapHealthChecks("/health/live", new HealthCheckOptions { Predicate = check => check.Tags.Contains("live") });
        await service.StartAsync(_test);
        return service;
    }

    private static async Task<(HttpStatusCode Ready, HttpStatusCode Live)> StatusesAsync(HttpClient client)
    {
        using var ready = await client.GetAsync("/health/ready", _test);
        using var live = await client.GetAsync("/health/live", _test);
        return (ready.StatusCode, live.StatusCode);
    }

    private static Task<HealthReportEntry> ReadinessAsync(WebApplication service) => CheckAsync(service, "ready");

    private static async Task<HealthReportEntry> CheckAsync(WebApplication service, string tag)
        => (await service.Services.GetRequiredService<HealthCheckService>().CheckHealthAsync(check => check.Tags.Contains(tag), _test)).Entries.Values.Single();
}
