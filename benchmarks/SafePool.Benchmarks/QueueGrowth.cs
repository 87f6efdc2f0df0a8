using BenchmarkDotNet.Attributes;
using SafePool.TestKit;

namespace SafePool.Benchmarks;

/// <summary>Whether a rent that waits costs more when the queue is longer. One connection; each worker goes to the end of the queue again and again.</summary>
[MemoryDiagnoser]
public class QueueGrowth
{
    private const int Rents = 200_000;

    private ConnectionPool _pool = null!;

    [Params(1, 100, 10_000)]
    public int Queue { get; set; }

    [GlobalSetup]
    public async Task SetUpAsync()
    {
        var database = await TestDatabase.AcquireAsync();
        _pool = ConnectionPool.Create(database.ConnectionString, options => (options.MaxSize, options.MaxWaiters, options.AcquireTimeout) = (1, 20_000, TimeSpan.FromMinutes(1)));
    }

    [GlobalCleanup]
    public async Task CleanUpAsync()
    {
        await _pool.DisposeAsync();
        await TestDatabase.ShutdownAsync();
    }

    [Benchmark(OperationsPerInvoke = Rents)]
    public Task RentAsync() => Task.WhenAll(Enumerable.Range(0, Queue + 1).Select(_ => Task.Run(async () =>
    {
        for (var i = 0; i < Rents / (Queue + 1); i++)
        {
            await using var lease = await _pool.RentAsync();
        }
    })));
}
