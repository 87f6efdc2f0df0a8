using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;

namespace SafePool.Tests.Poolers;

/// <summary>One way to a server of its own: directly, or through a pooler that the matrix is about.</summary>
internal sealed class Gateway : IAsyncDisposable
{
    private readonly PostgresServer _server;
    private readonly IAsyncDisposable? _pooler;

    private Gateway(string name, PostgresServer server, string connectionString, IAsyncDisposable? pooler)
    {
        (Name, _server, ConnectionString, _pooler) = (name, server, connectionString, pooler);
        Server = new Outside(server.ConnectionString);
    }

    public string Name { get; }

    /// <summary>How clients connect.</summary>
    public string ConnectionString { get; }

    /// <summary>The server itself, past the pooler.</summary>
    public Outside Server { get; }

    /// <summary>The pooler, where it has an admin console.</summary>
    public PgBouncerServer? Bouncer => _pooler as PgBouncerServer;

    public PgpoolServer? Pgpool => _pooler as PgpoolServer;

    public static async Task<Gateway> DirectAsync()
    {
        var server = await PostgresServer.StartAsync();
        return new Gateway("direct", server, server.ConnectionString, pooler: null);
    }

    public static async Task<Gateway> BouncerAsync(PoolMode mode, bool use124 = false, Action<PgBouncerOptions>? configure = null)
    {
        var server = await PostgresServer.StartAsync();
        var bouncer = await PgBouncerServer.StartAsync(server.ConnectionString, options =>
        {
            (options.Mode, options.Use124) = (mode, use124);
            options.Users["cured"] = "";
            configure?.Invoke(options);
        });
        return new Gateway(
            $"PgBouncer {bouncer.Version}, {mode.ToString().ToLowerInvariant()}", server, bouncer.ConnectionString, bouncer);
    }

    public static async Task<Gateway> PgpoolAsync()
    {
        var server = await PostgresServer.StartAsync();
        var pgpool = await PgpoolServer.StartAsync(server.ConnectionString);
        return new Gateway($"Pgpool-II {pgpool.Version}", server, pgpool.ConnectionString, pgpool);
    }

    public Task<PoolOnServer> PoolAsync(Action<ConnectionPoolOptions>? options = null, Action<NpgsqlConnectionStringBuilder>? text = null, TimeProvider? clock = null)
    {
        var port = new NpgsqlConnectionStringBuilder(ConnectionString).Port;
        return PoolOnServer.CreateAsync(
            options,
            builder =>
            {
                builder.Port = port;
                text?.Invoke(builder);
            },
            clock,
            _server.ConnectionString);
    }

    /// <summary>Another client of the same pooler.</summary>
    public async Task<NpgsqlConnection> StrangerAsync()
    {
        var stranger = new NpgsqlConnection(new NpgsqlConnectionStringBuilder(ConnectionString) { Pooling = false }.ConnectionString);
        await stranger.OpenAsync();
        return stranger;
    }

    public Task RestartPoolerAsync() => _pooler switch
    {
        PgBouncerServer bouncer => bouncer.RestartAsync(),
        PgpoolServer pgpool => pgpool.RestartAsync(),
        _ => _server.RestartAsync(),
    };

    public Task StopServerAsync() => _server.StopAsync(StopMode.Immediate);

    public Task StartServerAsync() => _server.StartAgainAsync();

    public async ValueTask DisposeAsync()
    {
        if (_pooler is not null)
        {
            await _pooler.DisposeAsync();
        }

        await _server.DisposeAsync();
    }
}
