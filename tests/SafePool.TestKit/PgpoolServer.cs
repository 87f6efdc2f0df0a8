using Npgsql;

namespace SafePool.TestKit;

/// <summary>A real Pgpool-II of a test's own before a PostgreSQL server.</summary>
/// <remarks>Listens on 127.0.0.1 only, and lets everybody in. Not for use by several threads at once.</remarks>
public sealed class PgpoolServer : IAsyncDisposable
{
    private readonly PoolerProcess _process;
    private readonly string _server;

    private PgpoolServer(PoolerProcess process, string server)
    {
        _process = process;
        _server = server;
    }

    /// <summary>Gets how to connect through it: as the server's own connection string says, but for the address.</summary>
    public string ConnectionString
        => new NpgsqlConnectionStringBuilder(_server) { Host = "127.0.0.1", Port = _process.Port }.ConnectionString;

    /// <summary>Gets its version: <c>4.3</c>.</summary>
    public string Version
    {
        get
        {
            const string Word = "successfully started. version ";
            var at = _process.Log.IndexOf(Word, StringComparison.Ordinal) + Word.Length;
            return string.Join('.', _process.Log[at..].Split('.', 3).Take(2));
        }
    }

    /// <summary>Makes and starts one.</summary>
    /// <param name="server">The connection string of the server behind it.</param>
    /// <param name="settings">Settings that win over the kit's own.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="InvalidOperationException">Pgpool-II is not on this machine, or it does not start; then its log is told.</exception>
    public static async Task<PgpoolServer> StartAsync(
        string server, IReadOnlyDictionary<string, string>? settings = null, CancellationToken cancellationToken = default)
    {
        KitDirectories.RefuseWindows();
        var program = Programs.Find("pgpool");
        var directory = await (await RunDirectory.CurrentAsync()).CreateDirectoryAsync("pgpool", cancellationToken);
        var behind = new NpgsqlConnectionStringBuilder(server);
        File.WriteAllText(Path.Combine(directory, "pcp.conf"), "");
        var process = new PoolerProcess(
            directory,
            port =>
            {
                var lines = Settings(behind, directory, port, settings ?? new Dictionary<string, string>());
                File.WriteAllLines(Path.Combine(directory, "pgpool.conf"), lines);
                return [program, "-n", "-f", "pgpool.conf", "-F", "pcp.conf"];
            },
            _ => "successfully started",
            Signals.Quit);
        var pgpool = new PgpoolServer(process, server);
        try
        {
            await process.StartAsync(cancellationToken);
            return pgpool;
        }
        catch
        {
            await pgpool.DisposeAsync();
            throw;
        }
    }

    /// <summary>Ends it at once, and its clients' connections with it. One that is stopped stays stopped.</summary>
    public Task StopAsync() => _process.StopAsync();

    /// <summary>Starts one that was stopped, at the port it had.</summary>
    public Task StartAgainAsync(CancellationToken cancellationToken = default) => _process.StartAsync(cancellationToken);

    /// <summary>Stops it and starts it again.</summary>
    public async Task RestartAsync(CancellationToken cancellationToken = default)
    {
        await StopAsync();
        await StartAgainAsync(cancellationToken);
    }

    /// <summary>Stops it and deletes all that it wrote.</summary>
    public ValueTask DisposeAsync() => _process.DisposeAsync();

    private static IEnumerable<string> Settings(
        NpgsqlConnectionStringBuilder server, string directory, int port, IReadOnlyDictionary<string, string> wanted)
    {
        var settings = new Dictionary<string, string>(StringComparer.Ordinal)
        {
            ["backend_clustering_mode"] = "raw",
            ["backend_hostname0"] = server.Host!,
            ["backend_port0"] = $"{server.Port}",
            ["backend_flag0"] = "DISALLOW_TO_FAILOVER",
            ["listen_addresses"] = "127.0.0.1",
            ["port"] = $"{port}",
            ["pcp_listen_addresses"] = "",
            ["pcp_port"] = $"{FreePort.Pick()}",
            ["socket_dir"] = directory,
            ["unix_socket_directories"] = directory,
            ["pcp_socket_dir"] = directory,
            ["wd_ipc_socket_dir"] = directory,
            ["logdir"] = directory,
            ["work_dir"] = directory,
            ["pid_file_name"] = Path.Combine(directory, "pgpool.pid"),
            ["num_init_children"] = "30",
        };
        foreach (var (name, value) in wanted)
        {
            settings[name] = value;
        }

        return settings.Select(setting => $"{setting.Key} = '{setting.Value}'");
    }
}
