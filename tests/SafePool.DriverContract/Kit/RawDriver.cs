using Npgsql;
using SafePool.TestKit;
using Xunit;

namespace SafePool.DriverContract.Kit;

/// <summary>Plain Npgsql on a real server, through a proxy that counts, with pool bounds as SafePool sets them.</summary>
internal sealed class RawDriver : IAsyncDisposable
{
    private static readonly CancellationToken _cancelled = new(canceled: true);

    private readonly string _server;

    private RawDriver(string server, TcpProxy proxy, NpgsqlDataSource dataSource)
    {
        _server = server;
        Proxy = proxy;
        DataSource = dataSource;
    }

    public TcpProxy Proxy { get; }

    public NpgsqlDataSource DataSource { get; }

    public string Text => DataSource.ConnectionString;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    /// <param name="text">Changes the connection string, which has equal bounds of 20.</param>
    /// <param name="build">Changes what the data source is built from.</param>
    public static async Task<RawDriver> StartAsync(Action<NpgsqlConnectionStringBuilder>? text = null, Action<NpgsqlDataSourceBuilder>? build = null)
    {
        var database = await TestDatabase.AcquireAsync(Cancellation);
        var proxy = TcpProxy.Start(database.ConnectionString);
        var settled = new NpgsqlConnectionStringBuilder(proxy.ConnectionString(database.ConnectionString))
        {
            MinPoolSize = 20,
            MaxPoolSize = 20,
            ConnectionLifetime = 0,
        };
        text?.Invoke(settled);
        var builder = new NpgsqlDataSourceBuilder(settled.ConnectionString);
        build?.Invoke(builder);
        return new RawDriver(database.ConnectionString, proxy, builder.Build());
    }

    public async Task<NpgsqlConnection> OpenAsync() => await DataSource.OpenConnectionAsync(Cancellation);

    /// <summary>Opens with a token that is cancelled already, as the pool does to take what is idle. Null when nothing is.</summary>
    public NpgsqlConnection? TryTake()
    {
        var connection = DataSource.CreateConnection();
        return connection.OpenAsync(_cancelled).IsCompletedSuccessfully ? connection : null;
    }

    /// <summary>Opens so many connections and puts them to rest in that order.</summary>
    /// <returns>What tells them apart: the parameters of each.</returns>
    public async Task<object[]> FillAsync(int connections)
    {
        var opened = new List<NpgsqlConnection>();
        for (var i = 0; i < connections; i++)
        {
            opened.Add(await OpenAsync());
        }

        var identities = opened.Select(connection => (object)connection.PostgresParameters).ToArray();
        foreach (var connection in opened)
        {
            await connection.CloseAsync();
        }

        return identities;
    }

    /// <summary>Takes all that is idle, puts it back, and says how many there were.</summary>
    public int CountIdle()
    {
        var taken = new List<NpgsqlConnection>();
        while (TryTake() is { } connection)
        {
            taken.Add(connection);
        }

        taken.ForEach(connection => connection.Close());
        return taken.Count;
    }

    /// <summary>Asks the server on a connection of its own, which does not go through the proxy.</summary>
    public async Task<T> AskOutsideAsync<T>(string sql)
    {
        await using var connection = new NpgsqlConnection(new NpgsqlConnectionStringBuilder(_server) { Pooling = false }.ConnectionString);
        await connection.OpenAsync(Cancellation);
        return await connection.AskAsync<T>(sql);
    }

    /// <summary>What a session does: "active", "idle", "idle in transaction"; "gone" when it has ended.</summary>
    public Task<string> StateAsync(int session)
        => AskOutsideAsync<string>($"SELECT coalesce((SELECT state FROM pg_stat_activity WHERE pid = {session}), 'gone')");

    public Task<string> LastQueryAsync(int session) => AskOutsideAsync<string>($"SELECT query FROM pg_stat_activity WHERE pid = {session}");

    public Task<bool> HoldsLockAsync(int session)
        => AskOutsideAsync<bool>($"SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = {session})");

    /// <summary>Ends a session as an administrator would, and returns when it has ended.</summary>
    public async Task TerminateAsync(int session)
    {
        await AskOutsideAsync<bool>($"SELECT pg_terminate_backend({session})");
        await Eventually.True(async () => await StateAsync(session) == "gone", "the session has ended");
    }

    public async ValueTask DisposeAsync()
    {
        await DataSource.DisposeAsync();
        await Proxy.DisposeAsync();
    }
}
