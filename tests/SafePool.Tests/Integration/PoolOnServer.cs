using Npgsql;
using SafePool.TestKit;

namespace SafePool.Tests.Integration;

/// <summary>A pool of a test's own on a real server, with its log, and its sessions as the server sees them.</summary>
internal sealed class PoolOnServer : IAsyncDisposable
{
    private static int _pools;

    private readonly Outside _outside;

    private PoolOnServer(ConnectionPoolOptions options, string applicationName, Outside outside, TimeProvider? clock)
    {
        ApplicationName = applicationName;
        _outside = outside;
        Pool = new ConnectionPool(options, Logs, clock);
    }

    public ConnectionPool Pool { get; }

    public LogCollector Logs { get; } = new();

    public string ApplicationName { get; }

    public PoolSnapshot Snapshot => Pool.GetSnapshot();

    /// <param name="options">Changes the pool's options.</param>
    /// <param name="text">Changes the connection string.</param>
    /// <param name="clock">The system's by default.</param>
    /// <param name="server">The shared one by default.</param>
    /// <param name="proxy">What the pool, but not <see cref="SessionsAsync"/>, goes through.</param>
    public static async Task<PoolOnServer> CreateAsync(
        Action<ConnectionPoolOptions>? options = null,
        Action<NpgsqlConnectionStringBuilder>? text = null,
        TimeProvider? clock = null,
        string? server = null,
        TcpProxy? proxy = null)
    {
        server ??= await Outside.SharedServerAsync();
        var name = $"itest-{Environment.ProcessId}-{Interlocked.Increment(ref _pools)}";
        var builder = new NpgsqlConnectionStringBuilder(proxy?.ConnectionString(server) ?? server) { ApplicationName = name };
        text?.Invoke(builder);
        var settled = new ConnectionPoolOptions { ConnectionString = builder.ConnectionString };
        if (clock is not null)
        {
            // A clock that leaps makes every answer of a real server late.
            settled.ProbeAfterIdle = settled.ProbeAfterQuiet = Timeout.InfiniteTimeSpan;
            settled.WatchServer = false;
        }

        options?.Invoke(settled);
        return new PoolOnServer(settled, name, new Outside(server), clock);
    }

    /// <summary>The process ids of the pool's sessions on the server.</summary>
    public Task<int[]> SessionsAsync()
        => _outside.AskAsync<int[]>(
            $"SELECT coalesce(array_agg(pid ORDER BY pid), '{{}}') FROM pg_stat_activity WHERE application_name = '{ApplicationName}'");

    /// <summary>What a session does, as <c>pg_stat_activity</c> says: active, idle, idle in transaction; "gone" when it ended.</summary>
    public Task<string> ActivityAsync(int session)
        => _outside.AskAsync<string>($"SELECT coalesce((SELECT state FROM pg_stat_activity WHERE pid = {session}), 'gone')");

    /// <summary>What each of the pool's sessions has run last.</summary>
    public Task<string[]> QueriesAsync()
        => _outside.AskAsync<string[]>(
            $"SELECT coalesce(array_agg(query ORDER BY pid), '{{}}') FROM pg_stat_activity WHERE application_name = '{ApplicationName}'");

    /// <summary>When each of the pool's sessions has begun to run what it ran last.</summary>
    public Task<DateTime[]> QueryStartsAsync()
        => _outside.AskAsync<DateTime[]>(
            $"SELECT coalesce(array_agg(query_start ORDER BY pid), '{{}}') FROM pg_stat_activity WHERE application_name = '{ApplicationName}'");

    /// <summary>Asks the server, from outside of the pool.</summary>
    public Task<T> AskAsync<T>(string sql) => _outside.AskAsync<T>(sql);

    /// <summary>Ends a session as an administrator would, and returns when it has ended.</summary>
    public Task TerminateAsync(int session) => TerminateAsync($"pid = {session}");

    /// <inheritdoc cref="Outside.TerminateAsync"/>
    public Task TerminateAsync(string which) => _outside.TerminateAsync(which);

    /// <summary>How many of the pool's sessions there are once the server has got rid of those that were closed.</summary>
    public Task SessionsBecomeAsync(int expected)
        => Eventually.True(async () => (await SessionsAsync()).Length == expected, $"the server sees {expected} sessions");

    public ValueTask DisposeAsync() => Pool.DisposeAsync();
}
