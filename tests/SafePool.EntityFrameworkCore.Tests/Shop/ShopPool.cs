using Microsoft.EntityFrameworkCore;
using Npgsql;
using Npgsql.EntityFrameworkCore.PostgreSQL.Infrastructure;
using SafePool.TestKit;

namespace SafePool.EntityFrameworkCore.Tests.Shop;

/// <summary>A pool of a test's own over the shop, and contexts of it.</summary>
internal sealed class ShopPool : IAsyncDisposable
{
    private static int _pools;

    private ShopPool(ConnectionPoolOptions options, string applicationName, TimeProvider? clock)
    {
        ApplicationName = applicationName;
        Pool = new ConnectionPool(options, Logs, clock);
    }

    public ConnectionPool Pool { get; }

    public LogCollector Logs { get; } = new();

    public string ApplicationName { get; }

    public PoolSnapshot Snapshot => Pool.GetSnapshot();

    /// <summary>How many leases are out, and how many connections idle.</summary>
    public (int Leased, int Idle) Places => (Snapshot.Leased, Snapshot.Idle);

    /// <param name="options">Changes the pool's options; by default it has one place.</param>
    /// <param name="text">Changes the connection string.</param>
    /// <param name="database">The shared shop by default.</param>
    /// <param name="clock">The system's by default.</param>
    public static async Task<ShopPool> CreateAsync(
        Action<ConnectionPoolOptions>? options = null,
        Action<NpgsqlConnectionStringBuilder>? text = null,
        string? database = null,
        TimeProvider? clock = null)
    {
        var name = $"eftest-{Environment.ProcessId}-{Interlocked.Increment(ref _pools)}";
        var builder = new NpgsqlConnectionStringBuilder(database ?? await ShopDatabase.SharedAsync()) { ApplicationName = name };
        text?.Invoke(builder);
        var settled = new ConnectionPoolOptions { ConnectionString = builder.ConnectionString, MaxSize = 1 };
        if (clock is not null)
        {
            // A clock that leaps makes every answer of a real server late.
            settled.ProbeAfterIdle = settled.ProbeAfterQuiet = Timeout.InfiniteTimeSpan;
        }

        options?.Invoke(settled);
        return new ShopPool(settled, name, clock);
    }

    /// <summary>Connects, however short the budget of a rent is.</summary>
    public async Task FillAsync()
    {
        // The first context makes the pool fit for ambient transactions, which renews its connections.
        await using var first = Context();
        _ = first.Database.GetDbConnection();
        await TestKit.Eventually.True(
            async () =>
            {
                await using var lease = await Pool.RentAsync();
                return true;
            },
            "the pool has a connection");
    }

    public ShopContext Context(Action<DbContextOptionsBuilder<ShopContext>>? options = null, Action<NpgsqlDbContextOptionsBuilder>? npgsql = null)
    {
        var builder = new DbContextOptionsBuilder<ShopContext>();
        options?.Invoke(builder);
        return new ShopContext(builder.UseSafePool(Pool, npgsql).Options);
    }

    /// <summary>How many sessions the server sees of this pool.</summary>
    public async Task<long> SessionsAsync()
        => await AskAsync<long>($"SELECT count(*) FROM pg_stat_activity WHERE application_name = '{ApplicationName}'");

    public static async Task<T> AskAsync<T>(string sql)
    {
        await using var connection = new NpgsqlConnection(
            new NpgsqlConnectionStringBuilder(await ShopDatabase.SharedAsync()) { Pooling = false }.ConnectionString);
        await connection.OpenAsync();
        await using var command = new NpgsqlCommand(sql, connection);
        return (T)(await command.ExecuteScalarAsync())!;
    }

    public ValueTask DisposeAsync() => Pool.DisposeAsync();
}
