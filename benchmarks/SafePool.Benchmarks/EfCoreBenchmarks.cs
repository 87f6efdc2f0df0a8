using BenchmarkDotNet.Attributes;
using Microsoft.EntityFrameworkCore;
using Npgsql;
using SafePool.TestKit;

namespace SafePool.Benchmarks;

/// <summary>What it costs that EF Core's connections are leases: open and close alone, which is where the difference lies, and a whole query as services run it.</summary>
[MemoryDiagnoser]
public class EfCoreBenchmarks
{
    private NpgsqlDataSource _raw = null!;
    private ConnectionPool _pool = null!;
    private ConnectionPool _untracked = null!;
    private DbContextOptions _rawOptions = null!;
    private DbContextOptions _poolOptions = null!;
    private DbContextOptions _untrackedOptions = null!;

    [GlobalSetup]
    public async Task SetUpAsync()
    {
        var database = await TestDatabase.AcquireAsync();
        _raw = NpgsqlDataSource.Create(database.ConnectionString);
        _pool = ConnectionPool.Create(database.ConnectionString);
        _untracked = ConnectionPool.Create(database.ConnectionString, options => options.Leaks.Tracking = LeaseTracking.Off);
        _rawOptions = new DbContextOptionsBuilder().UseNpgsql(_raw).Options;
        _poolOptions = new DbContextOptionsBuilder().UseSafePool(_pool).Options;
        _untrackedOptions = new DbContextOptionsBuilder().UseSafePool(_untracked).Options;
        await RawQueryAsync();
        await PoolQueryAsync();
        await UntrackedQueryAsync();
    }

    [GlobalCleanup]
    public async Task CleanUpAsync()
    {
        await _pool.DisposeAsync();
        await _untracked.DisposeAsync();
        await _raw.DisposeAsync();
        await TestDatabase.ShutdownAsync();
    }

    [Benchmark(Baseline = true, Description = "query, UseNpgsql")]
    public Task<int> RawQueryAsync() => QueryAsync(_rawOptions);

    [Benchmark(Description = "query, UseSafePool")]
    public Task<int> PoolQueryAsync() => QueryAsync(_poolOptions);

    [Benchmark(Description = "query, UseSafePool, tracking off")]
    public Task<int> UntrackedQueryAsync() => QueryAsync(_untrackedOptions);

    [Benchmark(Description = "open + close, UseNpgsql")]
    public Task RawOpenAsync() => OpenAsync(_rawOptions);

    [Benchmark(Description = "open + close, UseSafePool")]
    public Task PoolOpenAsync() => OpenAsync(_poolOptions);

    [Benchmark(Description = "open + close, UseSafePool, tracking off")]
    public Task UntrackedOpenAsync() => OpenAsync(_untrackedOptions);

    private static async Task<int> QueryAsync(DbContextOptions options)
    {
        await using var context = new DbContext(options);
        return await context.Database.SqlQueryRaw<int>("SELECT 1 AS \"Value\"").SingleAsync();
    }

    private static async Task OpenAsync(DbContextOptions options)
    {
        await using var context = new DbContext(options);
        await context.Database.OpenConnectionAsync();
        await context.Database.CloseConnectionAsync();
    }
}
