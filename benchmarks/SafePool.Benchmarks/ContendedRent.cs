using BenchmarkDotNet.Attributes;
using Npgsql;
using SafePool.Benchmarks.Contests;
using SafePool.TestKit;

namespace SafePool.Benchmarks;

/// <summary>What a rent and its return cost when many want four connections: the case in which pools differ, and in which a service is when it is slow.</summary>
/// <remarks>The long warm-up is for the compiler, which shares the processors with the workers: with three iterations it was still at work when the measurement began, and whoever has more code lost.</remarks>
[MemoryDiagnoser]
[WarmupCount(12)]
[IterationCount(12)]
public class ContendedRent
{
    private const int Connections = 4;
    private const int Rents = 40_000;

    private NpgsqlDataSource _raw = null!;
    private ConnectionPool _pool = null!;

    [Params(2, 8, 32, 200)]
    public int Workers { get; set; }

    [Params("nothing", "yield", "50 µs")]
    public string Held { get; set; } = "";

    private Hold Hold => Held switch
    {
        "nothing" => Hold.Nothing,
        "yield" => Hold.Yield,
        _ => Hold.Spin,
    };

    [GlobalSetup]
    public async Task SetUpAsync()
    {
        var database = await TestDatabase.AcquireAsync();
        _raw = NpgsqlDataSource.Create(new NpgsqlConnectionStringBuilder(database.ConnectionString) { MaxPoolSize = Connections }.ConnectionString);
        _pool = ConnectionPool.Create(database.ConnectionString, options => options.MaxSize = Connections);
    }

    [GlobalCleanup]
    public async Task CleanUpAsync()
    {
        await _pool.DisposeAsync();
        await _raw.DisposeAsync();
        await TestDatabase.ShutdownAsync();
    }

    [Benchmark(Baseline = true, Description = "raw", OperationsPerInvoke = Rents)]
    public Task RawAsync() => AllAsync(async () =>
    {
        await using var connection = await _raw.OpenConnectionAsync();
        await connection.UseAsync(Hold);
    });

    [Benchmark(Description = "SafePool", OperationsPerInvoke = Rents)]
    public Task SafePoolAsync() => AllAsync(async () =>
    {
        await using var lease = await _pool.RentAsync();
        await lease.Connection.UseAsync(Hold);
    });

    private Task AllAsync(Func<ValueTask> rent) => Task.WhenAll(Enumerable.Range(0, Workers).Select(_ => Task.Run(async () =>
    {
        for (var i = 0; i < Rents / Workers; i++)
        {
            await rent();
        }
    })));
}
