using Npgsql;

namespace SafePool.Benchmarks.Contests;

/// <summary>A way to get a connection, with a pool of its own behind it.</summary>
/// <param name="name">What the table calls it.</param>
/// <param name="operate">Gets one, holds it and gives it back.</param>
/// <param name="pool">What to dispose at the end.</param>
internal sealed class Contender(string name, Func<int, ValueTask> operate, IAsyncDisposable pool) : IAsyncDisposable
{
    public string Name => name;

    public Func<int, ValueTask> Operate => operate;

    private IAsyncDisposable Pool => pool;

    /// <summary>How many workers it takes, if not as many as the others.</summary>
    public int? Workers { get; private init; }

    /// <summary>Npgsql's own pool.</summary>
    public static Contender Raw(string connectionString, int connections, Hold hold, string name = "raw Npgsql")
    {
        var raw = NpgsqlDataSource.Create(new NpgsqlConnectionStringBuilder(connectionString) { MaxPoolSize = connections }.ConnectionString);
        return new Contender(name, OperateAsync, raw);

        async ValueTask OperateAsync(int worker)
        {
            await using var connection = await raw.OpenConnectionAsync();
            await connection.UseAsync(hold);
        }
    }

    /// <summary>The same with all of its connections open, and kept so.</summary>
    public static async Task<Contender> RawFilledAsync(string connectionString, int connections, Hold hold, string name)
    {
        var text = new NpgsqlConnectionStringBuilder(connectionString) { MinPoolSize = connections }.ConnectionString;
        var contender = Raw(text, connections, hold, name);
        var source = (NpgsqlDataSource)contender.Pool;
        var opened = new NpgsqlConnection[connections];
        for (var i = 0; i < connections; i++)
        {
            opened[i] = await source.OpenConnectionAsync();
        }

        foreach (var connection in opened)
        {
            await connection.DisposeAsync();
        }

        return contender;
    }

    /// <summary>SafePool, all default safety on.</summary>
    public static Contender SafePool(string connectionString, int connections, Hold hold, string name = "SafePool", Action<ConnectionPoolOptions>? configure = null)
    {
        var pool = ConnectionPool.Create(connectionString, options =>
        {
            options.MaxSize = connections;
            options.MaxWaiters = 20_000;
            configure?.Invoke(options);
        });
        return new Contender(name, OperateAsync, pool);

        async ValueTask OperateAsync(int worker)
        {
            await using var lease = await pool.RentAsync();
            await lease.Connection.UseAsync(hold);
        }
    }

    /// <summary>No pool but a line of those who wait: <see cref="BareLine"/>.</summary>
    public static async Task<Contender> BareLineAsync(string connectionString, int connections, Hold hold, string name = "a bare line")
    {
        // With a minimum of as many Npgsql never closes one for being idle.
        var text = new NpgsqlConnectionStringBuilder(connectionString) { MinPoolSize = connections, MaxPoolSize = connections };
        var source = NpgsqlDataSource.Create(text.ConnectionString);
        var line = new BareLine(source, connections);
        await line.FillAsync();
        return new Contender(name, OperateAsync, source);

        async ValueTask OperateAsync(int worker)
        {
            var connection = await line.RentAsync();
            await connection.UseAsync(hold);
            line.Return(connection);
        }
    }

    /// <summary>No pool: as many workers as connections, each with its own. What no pool can be better than.</summary>
    public static async Task<Contender> OwnedAsync(string connectionString, int connections, Hold hold)
    {
        var source = NpgsqlDataSource.Create(new NpgsqlConnectionStringBuilder(connectionString) { MaxPoolSize = connections }.ConnectionString);
        var owned = new NpgsqlConnection[connections];
        for (var i = 0; i < connections; i++)
        {
            owned[i] = await source.OpenConnectionAsync();
        }

        return new Contender("own connections", worker => owned[worker].UseAsync(hold), source) { Workers = connections };
    }

    /// <summary>The same with a number of workers of its own.</summary>
    public Contender With(int workers) => new(name, operate, pool) { Workers = workers };

    /// <summary>Opens what a pool is to have at least.</summary>
    public Task WarmUpAsync() => (pool as ConnectionPool)?.WarmUpAsync() ?? Task.CompletedTask;

    public ValueTask DisposeAsync() => pool.DisposeAsync();
}
