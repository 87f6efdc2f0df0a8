using Npgsql;
using SafePool.TestKit;

namespace SafePool.Tests.Verdicts;

/// <summary>A server whose connections others have used up, but for some.</summary>
internal sealed class FullServer : IAsyncDisposable
{
    private const int Connections = 5;

    private readonly PostgresServer _server;
    private readonly List<NpgsqlConnection> _others = [];

    private FullServer(PostgresServer server) => _server = server;

    public string ConnectionString => _server.ConnectionString;

    public static async Task<FullServer> StartAsync(int room)
    {
        var server = await PostgresServer.StartAsync(options =>
        {
            options.Settings["max_connections"] = $"{Connections}";
            options.Settings["superuser_reserved_connections"] = "0";
            options.Settings["max_wal_senders"] = "0";
        });
        var full = new FullServer(server);
        await full.FillAsync(Connections - room);
        return full;
    }

    /// <summary>The others go.</summary>
    public async Task MakeRoomAsync()
    {
        foreach (var other in _others)
        {
            await other.DisposeAsync();
        }

        _others.Clear();
    }

    public async ValueTask DisposeAsync()
    {
        await MakeRoomAsync();
        await _server.DisposeAsync();
    }

    /// <summary>The kit's own connection, with which it saw that the server is up, may still be on its way out.</summary>
    private Task FillAsync(int connections)
        => Eventually.True(
            async () =>
            {
                while (_others.Count < connections)
                {
                    var other = new NpgsqlConnection($"{ConnectionString};Pooling=false;Application Name=another service");
                    await other.OpenAsync();
                    _others.Add(other);
                }

                return true;
            },
            $"{connections} connections are used up");
}
