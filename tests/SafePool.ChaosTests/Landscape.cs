using Npgsql;
using SafePool.TestKit;

namespace SafePool.ChaosTests;

/// <summary>The server, the network before it, and a way around the network.</summary>
internal sealed class Landscape : IAsyncDisposable
{
    /// <summary>Whom the pool connects as: no superuser, so that a full server is full for it.</summary>
    public const string Role = "chaos";

    private readonly string _outside;

    private Landscape(PostgresServer server, PostgresServer elsewhere, TcpProxy proxy, IMiddleman? middleman)
    {
        Server = server;
        Elsewhere = elsewhere;
        Proxy = proxy;
        Middleman = middleman;
        _outside = new NpgsqlConnectionStringBuilder(server.ConnectionString) { Pooling = false, Timeout = 3, ApplicationName = "chaos-outside" }.ConnectionString;
    }

    public PostgresServer Server { get; }

    /// <summary>Gets another server, to which the address may move.</summary>
    public PostgresServer Elsewhere { get; }

    public TcpProxy Proxy { get; }

    /// <summary>Gets the pooler between the proxy and the server, if there is one.</summary>
    public IMiddleman? Middleman { get; }

    /// <summary>Gets how the pool connects: through the proxy, with commands that end in bounded time on a network that swallows everything.</summary>
    public string ConnectionString => new NpgsqlConnectionStringBuilder(Proxy.ConnectionString(Middleman?.ConnectionString ?? Server.ConnectionString))
    {
        Username = Role,
        CommandTimeout = 2,
        CancellationTimeout = 500,
        ApplicationName = Role,
    }.ConnectionString;

    /// <param name="startMiddleman">Puts a pooler between the proxy and the server.</param>
    /// <param name="cancellationToken">Gives up.</param>
    public static async Task<Landscape> CreateAsync(
        Func<PostgresServer, Task<IMiddleman>>? startMiddleman, CancellationToken cancellationToken)
    {
        // Small, so that it can be filled.
        var server = await PostgresServer.StartAsync(options => options.Settings["max_connections"] = "40", cancellationToken);
        var elsewhere = await PostgresServer.StartAsync(cancellationToken: cancellationToken);
        await DoAsync(server.ConnectionString, $"CREATE ROLE {Role} LOGIN; CREATE ROLE squatter LOGIN");
        await DoAsync(elsewhere.ConnectionString, $"CREATE ROLE {Role} LOGIN");
        var middleman = startMiddleman is null ? null : await startMiddleman(server);
        return new Landscape(server, elsewhere, TcpProxy.Start(middleman?.ConnectionString ?? server.ConnectionString), middleman);
    }

    /// <summary>Asks the server past the proxy, as a superuser, for whom there is room also when it is full.</summary>
    public async Task<T> AskAsync<T>(string sql)
    {
        await using var connection = new NpgsqlConnection(_outside);
        await connection.OpenAsync();
        await using var command = new NpgsqlCommand(sql, connection);
        return (T)(await command.ExecuteScalarAsync())!;
    }

    /// <summary>The process ids of the pool's sessions.</summary>
    public Task<int[]> SessionsAsync()
        => AskAsync<int[]>($"SELECT coalesce(array_agg(pid ORDER BY pid), '{{}}') FROM pg_stat_activity WHERE usename = '{Role}'");

    /// <summary>Returns once the server answers past the proxy.</summary>
    public Task AnswersAsync() => Eventually.True(async () => await AskAsync<int>("SELECT 1") == 1, "the server answers", TimeSpan.FromSeconds(30));

    public async ValueTask DisposeAsync()
    {
        await Proxy.DisposeAsync();
        if (Middleman is { } middleman)
        {
            await middleman.DisposeAsync();
        }

        await Server.DisposeAsync();
        await Elsewhere.DisposeAsync();
    }

    private static async Task DoAsync(string connectionString, string sql)
    {
        await using var connection = new NpgsqlConnection($"{connectionString};Pooling=false");
        await connection.OpenAsync();
        await using var command = new NpgsqlCommand(sql, connection);
        await command.ExecuteNonQueryAsync();
    }
}
