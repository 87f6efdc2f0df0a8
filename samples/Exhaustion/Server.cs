using Npgsql;
using SafePool.TestKit;

namespace SafePool.Samples.Exhaustion;

/// <summary>The server that the scenarios run on, and a session beside both sides.</summary>
internal sealed class Server : IAsyncDisposable
{
    private static readonly TimeSpan _patience = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan _pause = TimeSpan.FromMilliseconds(20);

    private readonly NpgsqlConnectionStringBuilder _given;
    private readonly NpgsqlDataSource _beside;

    private Server(NpgsqlConnectionStringBuilder given, string origin)
    {
        _given = given;
        Origin = origin;
        _beside = NpgsqlDataSource.Create(ConnectionString($"exhaustion-{Environment.ProcessId}-beside", places: 10, TimeSpan.FromSeconds(15)));
    }

    public string Origin { get; }

    /// <summary>Takes the server of the connection string, or finds one.</summary>
    public static async Task<Server> AcquireAsync(NpgsqlConnectionStringBuilder? given)
    {
        if (given is null)
        {
            var database = await TestDatabase.AcquireAsync();
            return new Server(new NpgsqlConnectionStringBuilder(database.ConnectionString), database.Origin);
        }

        var server = new Server(given, $"{given.Host}, as given");
        await server.ScalarAsync("SELECT 1");
        return server;
    }

    /// <summary>What both sides are built from.</summary>
    public string ConnectionString(string applicationName, int places, TimeSpan timeout)
        => new NpgsqlConnectionStringBuilder(_given.ConnectionString)
        {
            ApplicationName = applicationName,
            MaxPoolSize = places,
            Timeout = (int)timeout.TotalSeconds,
        }.ConnectionString;

    /// <summary>How large a pool may be here. A third of what is free stays free: backends take a moment to go after their clients have.</summary>
    public async Task<int> RoomAsync()
    {
        const string Free =
            """
            SELECT sum(setting::int * CASE name WHEN 'max_connections' THEN 1 ELSE -1 END)::int
                 - (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::int
            FROM pg_settings
            WHERE name IN ('max_connections', 'superuser_reserved_connections', 'reserved_connections')
            """;
        return (int)(await ScalarAsync(Free))! * 2 / 3;
    }

    public async Task ExecuteAsync(string sql) => await ScalarAsync(sql);

    /// <summary>Runs one statement that waits for locks no longer than <paramref name="lockTimeout"/>.</summary>
    public async Task<object?> ExecuteAsync(string sql, TimeSpan lockTimeout)
    {
        await using var connection = await _beside.OpenConnectionAsync();
        await using var patience = new NpgsqlCommand($"SET lock_timeout = {(int)lockTimeout.TotalMilliseconds}", connection);
        await patience.ExecuteNonQueryAsync();
        await using var command = new NpgsqlCommand(sql, connection);
        return await command.ExecuteNonQueryAsync();
    }

    /// <summary>Gives a disposed pool's sessions a moment to go, and ends those that stay.</summary>
    /// <returns>How many stayed.</returns>
    public async Task<int> EndSessionsAsync(string applicationName, TimeSpan patience)
    {
        var left = await UntilGoneAsync(applicationName, patience);
        if (left > 0)
        {
            await ExecuteAsync($"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{applicationName}'");
            await UntilGoneAsync(applicationName, _patience);
        }

        return left;
    }

    public async ValueTask DisposeAsync()
    {
        await _beside.DisposeAsync();
        await TestDatabase.ShutdownAsync();
    }

    private async Task<int> UntilGoneAsync(string applicationName, TimeSpan patience)
    {
        var begun = TimeProvider.System.GetTimestamp();
        while (true)
        {
            var count = (int)(await ScalarAsync($"SELECT count(*)::int FROM pg_stat_activity WHERE application_name = '{applicationName}'"))!;
            if (count == 0 || TimeProvider.System.GetElapsedTime(begun) > patience)
            {
                return count;
            }

            await Task.Delay(_pause, TimeProvider.System);
        }
    }

    private async Task<object?> ScalarAsync(string sql)
    {
        await using var command = _beside.CreateCommand(sql);
        return await command.ExecuteScalarAsync();
    }
}
