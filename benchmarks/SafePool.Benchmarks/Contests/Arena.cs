using SafePool.TestKit;

namespace SafePool.Benchmarks.Contests;

/// <summary>A server with room for a thousand connections.</summary>
internal sealed class Arena : IAsyncDisposable
{
    private readonly PostgresServer _server;

    private Arena(PostgresServer server) => _server = server;

    public string ConnectionString => _server.ConnectionString;

    public string Description => $"PostgreSQL {_server.Version}, .NET {Environment.Version}, {Environment.ProcessorCount} processors";

    public static async Task<Arena> OpenAsync()
        => new(await PostgresServer.StartAsync(options => options.Settings["max_connections"] = "1200"));

    public ValueTask DisposeAsync() => _server.DisposeAsync();
}
