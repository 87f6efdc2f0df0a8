using BenchmarkDotNet.Attributes;
using SafePool.TestKit;

namespace SafePool.Benchmarks;

/// <summary>What it costs to look at a pool, half of which is leased: for health checks and dashboards that do so often.</summary>
[MemoryDiagnoser]
public class LookingCost
{
    private readonly List<Lease> _held = [];
    private ConnectionPool _pool = null!;

    [Params(20, 200)]
    public int Size { get; set; }

    [GlobalSetup]
    public async Task SetUpAsync()
    {
        var database = await TestDatabase.AcquireAsync();
        _pool = ConnectionPool.Create(database.ConnectionString, options => options.MaxSize = Size);
        for (var i = 0; i < Math.Min(Size / 2, 80); i++)
        {
            _held.Add(await _pool.RentAsync());
        }
    }

    [GlobalCleanup]
    public async Task CleanUpAsync()
    {
        foreach (var lease in _held)
        {
            await lease.DisposeAsync();
        }

        await _pool.DisposeAsync();
        await TestDatabase.ShutdownAsync();
    }

    [Benchmark(Baseline = true)]
    public PoolSnapshot GetSnapshot() => _pool.GetSnapshot();

    [Benchmark]
    public string DumpFlightRecorder() => _pool.DumpFlightRecorder();
}
