using System.Globalization;
using Npgsql;
using SafePool.TestKit;

namespace SafePool.Benchmarks.Contests;

/// <summary>A server with room for two pools of a thousand connections.</summary>
internal sealed class Arena : IAsyncDisposable
{
    /// <summary>Rows of the table for transactions: so many that they seldom wait for each other.</summary>
    public const int Accounts = 10_000;

    private readonly PostgresServer _server;

    private Arena(PostgresServer server) => _server = server;

    public string ConnectionString => _server.ConnectionString;

    public string Description => $"PostgreSQL {_server.Version}, .NET {Environment.Version}, {Environment.ProcessorCount} processors";

    /// <summary>What the server's processes that live now have used of a processor.</summary>
    public TimeSpan ServerProcessor()
    {
        var parent = _server.PostmasterId;
        var ticks = 0L;
        foreach (var process in Directory.EnumerateDirectories("/proc").Where(directory => int.TryParse(Path.GetFileName(directory), CultureInfo.InvariantCulture, out _)))
        {
            try
            {
                // After the name, which may contain anything: state, parent; as 12th and 13th from there user and system time.
                var stat = File.ReadAllText(Path.Combine(process, "stat"));
                var fields = stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
                if (fields[1] == parent.ToString(CultureInfo.InvariantCulture))
                {
                    ticks += long.Parse(fields[11], CultureInfo.InvariantCulture) + long.Parse(fields[12], CultureInfo.InvariantCulture);
                }
            }
            catch (IOException)
            {
                // It has just ended.
            }
        }

        // Of Linux on every architecture that .NET knows: a hundred a second.
        return TimeSpan.FromMilliseconds(10 * ticks);
    }

    public static async Task<Arena> OpenAsync()
    {
        var server = await PostgresServer.StartAsync(options => options.Settings["max_connections"] = "2200");
        await using var source = NpgsqlDataSource.Create(server.ConnectionString);
        await using var command = source.CreateCommand(
            $"CREATE TABLE accounts (id int PRIMARY KEY, balance bigint NOT NULL); INSERT INTO accounts SELECT id, 0 FROM generate_series(0, {Accounts - 1}) AS id");
        await command.ExecuteNonQueryAsync();
        return new Arena(server);
    }

    public ValueTask DisposeAsync() => _server.DisposeAsync();
}
