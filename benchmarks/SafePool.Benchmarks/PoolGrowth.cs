using BenchmarkDotNet.Attributes;
using SafePool.TestKit;

namespace SafePool.Benchmarks;

/// <summary>Whether an uncontended rent costs more in a larger pool, all of whose connections are open.</summary>
[MemoryDiagnoser]
public class PoolGrowth
{
    private PostgresServer _server = null!;
    private ConnectionPool _pool = null!;

    [Params(4, 32, 256, 1_000)]
    public int Size { get; set; }

    [GlobalSetup]
    public async Task SetUpAsync()
    {
        _server = await PostgresServer.StartAsync(options => options.Settings["max_connections"] = "1100");
        _pool = ConnectionPool.Create(_server.ConnectionString, options => (options.MinSize, options.MaxSize) = (Size, Size));
        await _pool.WarmUpAsync();
    }

    [GlobalCleanup]
    public async Task CleanUpAsync()
    {
        await _pool.DisposeAsync();
        await _server.DisposeAsync();
    }

    [Benchmark]
    public async Task RentAsync()
    {
        await using var lease = await _pool.RentAsync();
    }
}
