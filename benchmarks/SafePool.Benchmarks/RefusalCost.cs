using BenchmarkDotNet.Attributes;
using Npgsql;
using Polly;
using Polly.CircuitBreaker;
using SafePool.TestKit;

namespace SafePool.Benchmarks;

/// <summary>What it costs to be told no: by a full pool, and by an open circuit. Polly's circuit breaker, open, for reference.</summary>
[MemoryDiagnoser]
public class RefusalCost
{
    private const int Size = 20;
    private const int NobodysPort = 1;

    private static readonly RentOptions _atOnce = new() { AcquireTimeout = TimeSpan.Zero };

    private readonly List<Lease> _held = [];
    private readonly CircuitBreakerManualControl _control = new();
    private ConnectionPool _full = null!;
    private ConnectionPool _open = null!;
    private NpgsqlDataSource _raw = null!;
    private ResiliencePipeline _polly = null!;

    [GlobalSetup]
    public async Task SetUpAsync()
    {
        var database = await TestDatabase.AcquireAsync();
        _full = ConnectionPool.Create(database.ConnectionString, options => options.MaxSize = Size);
        for (var i = 0; i < Size; i++)
        {
            _held.Add(await _full.RentAsync());
        }

        var nobody = new NpgsqlConnectionStringBuilder(database.ConnectionString) { Host = "127.0.0.1", Port = NobodysPort }.ConnectionString;
        _open = ConnectionPool.Create(nobody, options => options.Breaker.TripAfter = TimeSpan.Zero);
        await Eventually.True(async () => (await _open.TryRentAsync()) is { Reason: RefusalReason.CircuitOpen }, "the circuit is open");
        _raw = NpgsqlDataSource.Create(nobody);
        _polly = new ResiliencePipelineBuilder().AddCircuitBreaker(new CircuitBreakerStrategyOptions { ManualControl = _control }).Build();
        await _control.IsolateAsync();
    }

    [GlobalCleanup]
    public async Task CleanUpAsync()
    {
        foreach (var lease in _held)
        {
            await lease.DisposeAsync();
        }

        await _full.DisposeAsync();
        await _open.DisposeAsync();
        await _raw.DisposeAsync();
        await TestDatabase.ShutdownAsync();
    }

    [Benchmark(Baseline = true, Description = "full: RentAsync throws")]
    public async Task<Exception?> FullThrown()
    {
        try
        {
            await using var lease = await _full.RentAsync(_atOnce);
            return null;
        }
        catch (PoolExhaustedException refused)
        {
            return refused;
        }
    }

    [Benchmark(Description = "full: TryRentAsync tells")]
    public async Task<RefusalReason> FullTold()
    {
        await using var outcome = await _full.TryRentAsync(_atOnce);
        return outcome.Reason;
    }

    [Benchmark(Description = "full: TryRentAsync, and the exception built: the verdict")]
    public async Task<Exception?> FullVerdict()
    {
        await using var outcome = await _full.TryRentAsync(_atOnce);
        return outcome.ToException();
    }

    [Benchmark(Description = "circuit open: RentAsync throws")]
    public async Task<Exception?> OpenThrown()
    {
        try
        {
            await using var lease = await _open.RentAsync();
            return null;
        }
        catch (CircuitOpenException refused)
        {
            return refused;
        }
    }

    [Benchmark(Description = "circuit open: TryRentAsync tells")]
    public async Task<RefusalReason> OpenTold()
    {
        await using var outcome = await _open.TryRentAsync();
        return outcome.Reason;
    }

    [Benchmark(Description = "Polly.Core: circuit isolated, throws")]
    public async Task<Exception?> PollyThrown()
    {
        try
        {
            await _polly.ExecuteAsync(static _ => ValueTask.CompletedTask);
            return null;
        }
        catch (BrokenCircuitException refused)
        {
            return refused;
        }
    }

    [Benchmark(Description = "Polly.Core: circuit isolated, as an outcome")]
    public async Task<bool> PollyTold()
    {
        var context = ResilienceContextPool.Shared.Get();
        var outcome = await _polly.ExecuteOutcomeAsync(static (_, _) => Outcome.FromResultAsValueTask(true), context, 0);
        ResilienceContextPool.Shared.Return(context);
        return outcome.Exception is null;
    }

    [Benchmark(Description = "raw Npgsql: nobody listens")]
    public async Task<Exception?> RawThrown()
    {
        try
        {
            await using var connection = await _raw.OpenConnectionAsync();
            return null;
        }
        catch (NpgsqlException refused)
        {
            return refused;
        }
    }
}
