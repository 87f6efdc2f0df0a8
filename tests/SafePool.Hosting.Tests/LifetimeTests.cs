using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Hosting.Tests;

public sealed class LifetimeTests
{
    private static readonly CancellationToken _test = TestContext.Current.CancellationToken;

    [Fact]
    public async Task Start_FaultsInSeveralPools_AreAllToldAtOnceAndNothingStarts()
    {
        var builder = Web.CreateBuilder();
        builder.Services.AddSafePool("Host=localhost;Password=secret", options => (options.MinSize, options.AcquireTimeout) = (50, TimeSpan.Zero));
        builder.Services.AddKeyedSafePool("reports", options => options.ConnectionString = "");
        await using var service = builder.Build();

        var error = await Assert.ThrowsAnyAsync<Exception>(() => service.StartAsync(_test));

        Assert.All(
            ["MinSize (50) must not exceed MaxSize (20)", "AcquireTimeout", "ConnectionString is empty"],
            fault => Assert.Contains(fault, error.ToString(), StringComparison.Ordinal));
        Assert.DoesNotContain("secret", error.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Start_WithAMinimum_OpensItWithoutARequest()
    {
        var server = await Web.ServerAsync();
        var builder = Web.CreateBuilder();
        builder.Services.AddSafePool(server, options => options.MinSize = 2);
        await using var service = builder.Build();

        await service.StartAsync(_test);

        var pool = service.Services.GetRequiredService<ConnectionPool>();
        await Eventually.True(() => pool.GetSnapshot().Idle == 2, "the minimum is open");
    }

    /// <summary>The order that matters: hosted services and requests in flight may rent until they have ended, and then the pool drains.</summary>
    [Fact]
    public async Task Stop_RequestInFlightAndAServiceThatRentsWhileItStops_AreServedAndThenThePoolDrains()
    {
        var server = await Web.ServerAsync();
        var log = new LogCollector();
        var builder = Web.CreateBuilder(log);
        builder.Services.AddSafePool(server, options => options.Name = "draining");
        builder.Services.AddSingleton<LastWords>();
        builder.Services.AddHostedService(services => services.GetRequiredService<LastWords>());
        await using var service = builder.Build();
        var arrived = new TaskCompletionSource();
        var goOn = new TaskCompletionSource();
        service.MapGet("/slow", async (ConnectionPool pool) =>
        {
            arrived.SetResult();
            await goOn.Task;
            await using var lease = await pool.RentAsync();
            await using var command = lease.CreateCommand("SELECT 42");
            return (int)(await command.ExecuteScalarAsync())!;
        });
        await service.StartAsync(_test);
        using var client = Web.Client(service);
        var request = client.GetStringAsync("/slow", _test);
        await arrived.Task;

        var stopping = service.StopAsync(_test);
        await service.Lifetime.ApplicationStopping.AsTask();
        goOn.SetResult();

        Assert.Equal("42", await request);
        await stopping;
        Assert.Equal(1, service.Services.GetRequiredService<LastWords>().Answer);
        Assert.Single(log.Entries, entry => entry.EventId.Id == 202);
        await Assert.ThrowsAsync<PoolClosedException>(() => service.Services.GetRequiredService<ConnectionPool>().RentAsync(_test).AsTask());
    }

    [Fact]
    public async Task Stop_ALeaseIsStillOut_EndsInTheHostsTimeAndNamesIt()
    {
        var server = await Web.ServerAsync();
        var log = new LogCollector();
        var builder = Web.CreateBuilder(log);
        builder.Services.AddSafePool(server);
        builder.Services.Configure<HostOptions>(options => options.ShutdownTimeout = TimeSpan.FromMilliseconds(300));
        await using var service = builder.Build();
        await service.StartAsync(_test);
        await using var lease = await service.Services.GetRequiredService<ConnectionPool>().RentAsync(_test);

        await service.StopAsync(CancellationToken.None);

        var said = Assert.Single(log.Entries, entry => entry.EventId.Id == 203);
        Assert.Contains("1 leases are still out", said.Message, StringComparison.Ordinal);
        Assert.Contains("LifetimeTests.cs", said.Message, StringComparison.Ordinal);
    }

    private sealed class LastWords(ConnectionPool pool) : IHostedService
    {
        public int Answer { get; private set; }

        public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public async Task StopAsync(CancellationToken cancellationToken)
        {
            await using var lease = await pool.RentAsync(cancellationToken);
            await using var command = lease.CreateCommand("SELECT 1");
            Answer = (int)(await command.ExecuteScalarAsync(cancellationToken))!;
        }
    }
}

internal static class Tokens
{
    /// <summary>Completes when the token is cancelled.</summary>
    public static Task AsTask(this CancellationToken token)
    {
        var cancelled = new TaskCompletionSource();
        token.Register(cancelled.SetResult);
        return cancelled.Task;
    }
}
