using Npgsql;

namespace SafePool.TestKit;

/// <summary>A real PgBouncer of a test's own before a PostgreSQL server, to be restarted, paused and thrown away.</summary>
/// <remarks>Listens on 127.0.0.1 only. Not for use by several threads at once.</remarks>
public sealed class PgBouncerServer : IAsyncDisposable
{
    private const string Up = "process up: PgBouncer ";

    private readonly PoolerProcess _process;
    private readonly string _server;

    private PgBouncerServer(PoolerProcess process, string server)
    {
        _process = process;
        _server = server;
    }

    /// <summary>Gets how to connect through it: as the server's own connection string says, but for the address.</summary>
    public string ConnectionString
        => new NpgsqlConnectionStringBuilder(_server) { Host = "127.0.0.1", Port = _process.Port }.ConnectionString;

    /// <summary>Gets the TCP port, the same over all restarts.</summary>
    public int Port => _process.Port;

    /// <summary>Gets its process id, for signals.</summary>
    public int ProcessId => _process.Id;

    /// <summary>Gets what it said before it ended by itself, which it never should; null while it runs.</summary>
    public string? LastWords => _process.LastWords;

    /// <summary>Gets its version: <c>1.18</c>.</summary>
    public string Version
    {
        get
        {
            var at = _process.Log.IndexOf(Up, StringComparison.Ordinal) + Up.Length;
            return string.Join('.', _process.Log[at..].Split('.', 3).Take(2));
        }
    }

    /// <summary>Makes and starts one.</summary>
    /// <param name="server">The connection string of the server behind it.</param>
    /// <param name="configure">Changes the options.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="InvalidOperationException">PgBouncer is not on this machine, or it does not start; then its log is told.</exception>
    public static async Task<PgBouncerServer> StartAsync(
        string server, Action<PgBouncerOptions>? configure = null, CancellationToken cancellationToken = default)
    {
        KitDirectories.RefuseWindows();
        var options = new PgBouncerOptions();
        configure?.Invoke(options);
        var program = Program(options);
        var directory = await (await RunDirectory.CurrentAsync()).CreateDirectoryAsync("bouncer", cancellationToken);
        var behind = new NpgsqlConnectionStringBuilder(server);
        await File.WriteAllLinesAsync(
            Path.Combine(directory, "users"), options.Users.Select(user => $"\"{user.Key}\" \"{user.Value}\""), cancellationToken);
        var process = new PoolerProcess(
            directory,
            port =>
            {
                File.WriteAllLines(Path.Combine(directory, "pgbouncer.ini"), Configuration(options, behind, directory, port));
                return [.. program, "pgbouncer.ini"];
            },
            // The last thing that it says when it starts, and it would not if it could not listen. With its version.
            _ => Up,
            options.Use124 ? Signals.Quit : Signals.Terminate);
        var bouncer = new PgBouncerServer(process, server);
        try
        {
            await process.StartAsync(cancellationToken);
            return bouncer;
        }
        catch
        {
            await bouncer.DisposeAsync();
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

    /// <summary>Runs a command of the admin console: PAUSE, RESUME, KILL, DISABLE, SHOW POOLS. Needs the default <c>auth_type</c>.</summary>
    /// <returns>The rows, if it has any.</returns>
    /// <exception cref="InvalidOperationException">It was refused; the message says why.</exception>
    public Task<IReadOnlyList<string?[]>> CommandAsync(string command, CancellationToken cancellationToken = default)
        => PgBouncerConsole.RunAsync(Port, command, cancellationToken);

    /// <summary>Stops it and deletes all that it wrote.</summary>
    public ValueTask DisposeAsync() => _process.DisposeAsync();

    private static IReadOnlyList<string> Program(PgBouncerOptions options)
    {
        if (!options.Use124)
        {
            return [Programs.Find("pgbouncer")];
        }

        var root = Environment.GetEnvironmentVariable(PgBouncerOptions.Directory124)
            ?? throw new InvalidOperationException(
                $"{PgBouncerOptions.Directory124} is not set. Run '.ci/fetch-pgbouncer DIRECTORY' and set it to that directory.");

        // With the C library of its own Debian.
        return
        [
            Path.Combine(root, "usr", "lib64", "ld-linux-x86-64.so.2"),
            "--library-path",
            Path.Combine(root, "usr", "lib", "x86_64-linux-gnu"),
            Path.Combine(root, "usr", "sbin", "pgbouncer"),
        ];
    }

    private static IEnumerable<string> Configuration(
        PgBouncerOptions options, NpgsqlConnectionStringBuilder server, string directory, int port)
        =>
        [
            "[databases]",
            .. options.Databases.Select(database => $"{database.Key} = host={server.Host} port={server.Port} {database.Value}"),
            "[pgbouncer]",
            "listen_addr = 127.0.0.1",
            $"listen_port = {port}",
            "unix_socket_dir =",
            $"auth_file = {Path.Combine(directory, "users")}",
            $"pool_mode = {options.Mode.ToString().ToLowerInvariant()}",
            .. options.Settings.Select(setting => $"{setting.Key} = {setting.Value}"),
        ];
}
