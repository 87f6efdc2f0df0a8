using System.Diagnostics.Metrics;
using BenchmarkDotNet.Attributes;
using SafePool.TestKit;

namespace SafePool.Benchmarks;

/// <summary>What else than the level of tracking (<see cref="TrackingCost"/>) makes an uncontended rent dearer.</summary>
[MemoryDiagnoser]
public class SafetyCost
{
    private static readonly RentOptions _budget = new() { AcquireTimeout = TimeSpan.FromSeconds(1) };
    private static readonly RentOptions _statementTimeout = new() { StatementTimeout = TimeSpan.FromSeconds(1) };

    private static readonly CancellationTokenSource _cancellation = new();
    private ConnectionPool _pool = null!;
    private static MeterListener? _listener;

    [GlobalSetup(Targets = [nameof(Default), nameof(WithToken), nameof(WithBudget), nameof(WithBudgetAndToken), nameof(WithStatementTimeout), nameof(ByTryRentAsync), nameof(DropIn)])]
    public Task SetUpAsync() => SetUpAsync(_ => { });

    [GlobalSetup(Target = nameof(WithoutBreaker))]
    public Task SetUpWithoutBreakerAsync() => SetUpAsync(options => options.Breaker.Enabled = false);

    [GlobalSetup(Target = nameof(WithStrictReset))]
    public Task SetUpStrictAsync() => SetUpAsync(options => options.Reset = SessionReset.Strict);

    [GlobalSetup(Target = nameof(WithMetrics))]
    public Task SetUpMetricsAsync()
    {
        _listener = new MeterListener
        {
            InstrumentPublished = (instrument, listener) =>
            {
                if (instrument.Meter.Name == SafePoolTelemetry.MeterName)
                {
                    listener.EnableMeasurementEvents(instrument);
                }
            },
        };
        _listener.SetMeasurementEventCallback<double>(static (_, _, _, _) => { });
        _listener.Start();
        return SetUpAsync(_ => { });
    }

    [GlobalCleanup]
    public async Task CleanUpAsync()
    {
        _listener?.Dispose();
        await _pool.DisposeAsync();
        await TestDatabase.ShutdownAsync();
    }

    [Benchmark(Baseline = true, Description = "default")]
    public async Task Default()
    {
        await using var lease = await _pool.RentAsync();
    }

    [Benchmark(Description = "a cancellation token")]
    public async Task WithToken()
    {
        await using var lease = await _pool.RentAsync(_cancellation.Token);
    }

    [Benchmark(Description = "a budget of its own")]
    public async Task WithBudget()
    {
        await using var lease = await _pool.RentAsync(_budget);
    }

    [Benchmark(Description = "a budget and a token")]
    public async Task WithBudgetAndToken()
    {
        await using var lease = await _pool.RentAsync(_budget, _cancellation.Token);
    }

    [Benchmark(Description = "statement_timeout for one lease: two round trips")]
    public async Task WithStatementTimeout()
    {
        await using var lease = await _pool.RentAsync(_statementTimeout);
    }

    [Benchmark(Description = "TryRentAsync")]
    public async Task<bool> ByTryRentAsync()
    {
        await using var outcome = await _pool.TryRentAsync();
        return outcome.Succeeded;
    }

    [Benchmark(Description = "drop-in connection")]
    public async Task DropIn()
    {
        await using var connection = await _pool.OpenConnectionAsync();
    }

    [Benchmark(Description = "breaker off")]
    public async Task WithoutBreaker()
    {
        await using var lease = await _pool.RentAsync();
    }

    [Benchmark(Description = "Reset = Strict")]
    public async Task WithStrictReset()
    {
        await using var lease = await _pool.RentAsync();
    }

    [Benchmark(Description = "a meter listens")]
    public async Task WithMetrics()
    {
        await using var lease = await _pool.RentAsync();
    }

    private async Task SetUpAsync(Action<ConnectionPoolOptions> configure)
    {
        var database = await TestDatabase.AcquireAsync();
        _pool = ConnectionPool.Create(database.ConnectionString, configure);
        await using var lease = await _pool.RentAsync();
    }
}
