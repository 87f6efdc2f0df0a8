using BenchmarkDotNet.Attributes;
using Microsoft.Extensions.ObjectPool;
using Npgsql;
using SafePool.TestKit;

namespace SafePool.Benchmarks;

/// <summary>What a rent and its return cost when a connection is idle and nobody else wants it: the common case of a service that is sized right.</summary>
[MemoryDiagnoser]
public class UncontendedRent
{
    private NpgsqlDataSource _raw = null!;
    private static readonly SemaphoreSlim _semaphore = new(100);
    private ConnectionPool _pool = null!;
    private ObjectPool<NpgsqlConnection> _objects = null!;

    [GlobalSetup]
    public async Task SetUpAsync()
    {
        var database = await TestDatabase.AcquireAsync();
        _raw = NpgsqlDataSource.Create(database.ConnectionString);
        _pool = ConnectionPool.Create(database.ConnectionString);
        await using var connection = await _raw.OpenConnectionAsync();
        await using var lease = await _pool.RentAsync();
        _objects = ObjectPool.Create(new OpenConnections(_raw));
    }

    [GlobalCleanup]
    public async Task CleanUpAsync()
    {
        await _pool.DisposeAsync();
        await _raw.DisposeAsync();
        await TestDatabase.ShutdownAsync();
    }

    [Benchmark(Baseline = true, Description = "raw OpenConnectionAsync + DisposeAsync")]
    public async Task RawAsync()
    {
        await using var connection = await _raw.OpenConnectionAsync();
    }

    [Benchmark(Description = "raw OpenConnection + Dispose")]
    public void Raw()
    {
        using var connection = _raw.OpenConnection();
    }

    [Benchmark(Description = "await using RentAsync")]
    public async Task RentAwaitUsing()
    {
        await using var lease = await _pool.RentAsync();
    }

    [Benchmark(Description = "using RentAsync")]
    public async Task RentUsing()
    {
        using var lease = await _pool.RentAsync();
    }

    [Benchmark(Description = "using Rent")]
    public void Rent()
    {
        using var lease = _pool.Rent();
    }

    [Benchmark(Description = "TryRent")]
    public bool TryRent()
    {
        var rented = _pool.TryRent(out var lease);
        lease.Dispose();
        return rented;
    }

    [Benchmark(Description = "OpenConnectionAsync (drop-in)")]
    public async Task DropInAsync()
    {
        await using var connection = await _pool.OpenConnectionAsync();
    }

    /// <summary>For reference: a bound that hands out nothing, over raw Npgsql.</summary>
    [Benchmark(Description = "SemaphoreSlim + raw")]
    public async Task SemaphoreAsync()
    {
        await _semaphore.WaitAsync();
        try
        {
            await using var connection = await _raw.OpenConnectionAsync();
        }
        finally
        {
            _semaphore.Release();
        }
    }

    /// <summary>For reference: open connections in a pool of objects. No bound, no reset, no waiting, no notice of a broken or forgotten one.</summary>
    [Benchmark(Description = "Microsoft.Extensions.ObjectPool")]
    public void Objects() => _objects.Return(_objects.Get());

    private sealed class OpenConnections(NpgsqlDataSource source) : PooledObjectPolicy<NpgsqlConnection>
    {
        public override NpgsqlConnection Create() => source.OpenConnection();

        public override bool Return(NpgsqlConnection obj) => true;
    }
}
