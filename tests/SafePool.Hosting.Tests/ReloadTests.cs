using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Npgsql;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Hosting.Tests;

public sealed class ReloadTests : IDisposable
{
    private const string Text = "Host=localhost;Username=app;Password=secret";

    private readonly LogCollector _log = new();

    [Fact]
    public async Task Reload_WhatCanChange_Does()
    {
        var configuration = Web.Configuration(("Pool:ConnectionString", Text), ("Pool:MaxSize", "5"));
        await using var provider = Provider(configuration);
        var pool = provider.GetRequiredService<ConnectionPool>();

        Change(configuration, ("Pool:MaxSize", "9"), ("Pool:Leaks:Threshold", "00:00:07"), ("Pool:Breaker:TripAfter", "00:00:03"));

        Assert.Equal(9, pool.GetSnapshot().MaxSize);
        Assert.Equal((TimeSpan.FromSeconds(7), TimeSpan.FromSeconds(3)), (pool.Parts.Settings.Leaks.Threshold, pool.Parts.Settings.Breaker.TripAfter));
        Assert.Contains("MaxSize, Leaks.Threshold, Breaker.TripAfter changed", Assert.Single(_log.Entries, entry => entry.EventId.Id == 136).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Reload_WhatCannot_IsRefusedByNameAndTheRestChanges()
    {
        var configuration = Web.Configuration(("Pool:ConnectionString", Text));
        await using var provider = Provider(configuration);
        var pool = provider.GetRequiredService<ConnectionPool>();

        Change(configuration, ("Pool:ConnectTimeout", "00:00:09"), ("Pool:MaxWaiters", "8"));

        Assert.Contains("ConnectTimeout cannot change", Assert.Single(_log.Entries, entry => entry.EventId.Id == 137).Message, StringComparison.Ordinal);
        Assert.Equal(8, pool.Parts.Settings.MaxWaiters);
    }

    [Theory]
    [InlineData("Pool:MinSize", "21", "MinSize (21) must not exceed MaxSize (20)")]
    [InlineData("Pool:MaxSise", "21", "'MaxSise'")]
    [InlineData("Pool:MaxSize", "many", "'Pool:MaxSize'")]
    public async Task Reload_AFault_LeavesEverythingAsItWasAndSaysSo(string key, string value, string said)
    {
        var configuration = Web.Configuration(("Pool:ConnectionString", Text));
        await using var provider = Provider(configuration);
        var pool = provider.GetRequiredService<ConnectionPool>();

        Change(configuration, (key, value), ("Pool:MaxWaiters", "8"));

        var error = Assert.Single(_log.Entries, entry => entry.EventId.Id == 200);
        Assert.Contains(said, error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("secret", error.ToString(), StringComparison.Ordinal);
        Assert.Equal((20, 1000), (pool.GetSnapshot().MaxSize, pool.Parts.Settings.MaxWaiters));
    }

    [Fact]
    public async Task Reload_NothingOfThePoolHasChanged_SaysNothing()
    {
        var schema = "orders";
        var configuration = Web.Configuration(("Pool:ConnectionString", Text), ("Other", "1"));
        var services = new ServiceCollection().AddSingleton<ILoggerFactory>(_log);
        services.AddSafePool(configuration.GetSection("Pool"), options =>
        {
            // New delegates with every run of this code.
            options.ConfigureDataSource = source => source.ConnectionStringBuilder.SearchPath = schema;
            options.LeaseRented = (_, _) => new ValueTask(Task.FromResult(schema));
        });
        await using var provider = services.BuildServiceProvider();
        _ = provider.GetRequiredService<ConnectionPool>();

        Change(configuration, ("Other", "2"));
        Change(configuration, ("Other", "3"));

        Assert.DoesNotContain(_log.Entries, entry => entry.Level > LogLevel.Debug);
    }

    public void Dispose() => _log.Dispose();

    private ServiceProvider Provider(IConfiguration configuration)
        => new ServiceCollection().AddSingleton<ILoggerFactory>(_log).AddSafePool(configuration.GetSection("Pool")).BuildServiceProvider();

    private static void Change(IConfigurationRoot configuration, params (string Key, string Value)[] values)
    {
        foreach (var (key, value) in values)
        {
            configuration[key] = value;
        }

        configuration.Reload();
    }
}
