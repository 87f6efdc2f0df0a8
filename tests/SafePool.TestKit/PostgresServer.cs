using System.Diagnostics;
using Npgsql;

namespace SafePool.TestKit;

/// <summary>A real PostgreSQL server of a test's own, to be restarted, crashed and thrown away.</summary>
/// <remarks>Listens on 127.0.0.1 only and lets everybody in as <c>postgres</c>. Not for use by several threads at once.</remarks>
public sealed class PostgresServer : IAsyncDisposable
{
    private static readonly TimeSpan StartPatience = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan StopPatience = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(10);

    private readonly PostgresBinaries _binaries;
    private readonly string _data;
    private readonly bool _isIsolated;
    private Process? _postmaster;
    private bool _hasBeenUp;

    private PostgresServer(PostgresBinaries binaries, string data, bool isIsolated = false)
    {
        _binaries = binaries;
        _data = data;
        _isIsolated = isIsolated;
    }

    /// <summary>Gets how to connect: over TCP, as user postgres to database postgres.</summary>
    public string ConnectionString
        => new NpgsqlConnectionStringBuilder { Host = "127.0.0.1", Port = Port, Username = "postgres", Database = "postgres" }.ConnectionString;

    /// <summary>Gets the TCP port, the same over all restarts.</summary>
    public int Port { get; private set; }

    /// <summary>Gets the process id of the postmaster, for signals such as SIGSTOP.</summary>
    /// <exception cref="InvalidOperationException">The server is stopped.</exception>
    public int PostmasterId => _postmaster is { } started ? IdOf(started) : throw new InvalidOperationException("The server is stopped.");

    /// <summary>Gets the version of the server.</summary>
    public Version Version { get; private set; } = new();

    /// <summary>Gets whether the postmaster lives.</summary>
    public bool IsRunning => _postmaster is { HasExited: false };

    internal string BinariesDirectory => _binaries.Directory;

    /// <summary>Makes and starts a server: 0.2 s, and 0.5 s more for the first of a process.</summary>
    /// <exception cref="InvalidOperationException">There is no PostgreSQL on this machine, or it does not start; then its log is told.</exception>
    public static async Task<PostgresServer> StartAsync(
        Action<PostgresServerOptions>? configure = null,
        CancellationToken cancellationToken = default)
    {
        KitDirectories.RefuseWindows();
        var options = new PostgresServerOptions();
        configure?.Invoke(options);
        var binaries = await PostgresBinaries.FindAsync(cancellationToken)
            ?? throw new InvalidOperationException(
                "No PostgreSQL server programs found on the PATH or in /usr/lib/postgresql. Install the package postgresql, or set SAFEPOOL_PG_VERSION.");

        return await StartAsync(await RunDirectory.CurrentAsync(), binaries, options, cancellationToken);
    }

    /// <summary>Makes a standby the primary, and returns once it takes writes: 0.1 s.</summary>
    /// <exception cref="PostgresException">It is no standby.</exception>
    /// <exception cref="InvalidOperationException">It did not become one within ten seconds.</exception>
    public async Task PromoteAsync(CancellationToken cancellationToken = default)
    {
        if (await QueryAsync("SELECT pg_promote(wait => true, wait_seconds => 10)", cancellationToken) is not true)
        {
            throw new InvalidOperationException("The standby was not promoted within 10 s.");
        }
    }

    /// <summary>Stops the server and returns once its postmaster is gone. A stopped server stays stopped.</summary>
    public async Task StopAsync(StopMode mode = StopMode.Fast)
    {
        if (Interlocked.Exchange(ref _postmaster, null) is not { } postmaster)
        {
            return;
        }

        using (postmaster)
        {
            await StopAsync(postmaster, mode);
        }
    }

    /// <summary>Starts a stopped or crashed server with the port and data it had.</summary>
    /// <exception cref="InvalidOperationException">It runs already, or it does not start; then its log is told.</exception>
    public async Task StartAgainAsync(CancellationToken cancellationToken = default)
    {
        if (IsRunning)
        {
            throw new InvalidOperationException("The server runs already.");
        }

        _postmaster?.Dispose();
        _postmaster = null;
        var started = TimeProvider.System.GetTimestamp();
        while (!await TryLaunchAsync(started, cancellationToken))
        {
            await Task.Delay(Pause, TimeProvider.System, cancellationToken);
        }
    }

    /// <summary>Stops the server and starts it again.</summary>
    public async Task RestartAsync(StopMode mode = StopMode.Fast, CancellationToken cancellationToken = default)
    {
        await StopAsync(mode);
        await StartAgainAsync(cancellationToken);
    }

    /// <summary>Stops the server and deletes all that it wrote.</summary>
    public async ValueTask DisposeAsync()
    {
        await StopAsync(StopMode.Immediate);
        await DeadRuns.DeleteAsync(_data);
    }

    internal static async Task<PostgresServer> StartAsync(
        RunDirectory run,
        PostgresBinaries binaries,
        PostgresServerOptions options,
        CancellationToken cancellationToken)
    {
        var data = await run.CreateClusterAsync(binaries, cancellationToken);
        await PutFirstAsync(Path.Combine(data, "pg_hba.conf"), options.HostBasedAccess, cancellationToken);
        return await StartAsync(new PostgresServer(binaries, data, options.HasOwnProcessIds), options.Settings, cancellationToken);
    }

    /// <summary>Starts a hot standby that streams from this server, which goes down for the moment in which its files are copied.</summary>
    internal async Task<PostgresServer> StartStandbyAsync(CancellationToken cancellationToken)
    {
        // pg_basebackup would spare the stop, but the binaries from npm come without it, and another version's refuses.
        await StopAsync();
        var run = await RunDirectory.CurrentAsync();
        var data = await run.CopyAsync(_data, cancellationToken);
        await StartAgainAsync(cancellationToken);
        await File.WriteAllTextAsync(Path.Combine(data, "standby.signal"), "", cancellationToken);
        var upstream = new Dictionary<string, string> { ["primary_conninfo"] = $"host=127.0.0.1 port={Port} user=postgres" };
        return await StartAsync(new PostgresServer(_binaries, data), upstream, cancellationToken);
    }

    private static async Task<PostgresServer> StartAsync(
        PostgresServer server,
        IEnumerable<KeyValuePair<string, string>> settings,
        CancellationToken cancellationToken)
    {
        try
        {
            await File.AppendAllLinesAsync(Path.Combine(server._data, "postgresql.conf"), settings.Select(Line), cancellationToken);
            await server.StartAgainAsync(cancellationToken);
            return server;
        }
        catch
        {
            await server.DisposeAsync();
            throw;
        }
    }

    internal async Task<object?> QueryAsync(string sql, CancellationToken cancellationToken)
    {
        await using var connection = new NpgsqlConnection($"{ConnectionString};Pooling=false;Timeout=15");
        await connection.OpenAsync(cancellationToken);
        await using var command = new NpgsqlCommand(sql, connection);
        return await command.ExecuteScalarAsync(cancellationToken);
    }

    /// <summary>The first line that fits counts. The file is written over, so that it stays the server's own.</summary>
    private static async Task PutFirstAsync(string file, IEnumerable<string> lines, CancellationToken cancellationToken)
    {
        var others = await File.ReadAllLinesAsync(file, cancellationToken);
        await File.WriteAllLinesAsync(file, lines.Concat(others), cancellationToken);
    }

    private static string Line(KeyValuePair<string, string> setting)
    {
        var value = setting.Value.Replace(@"\", @"\\", StringComparison.Ordinal).Replace("'", "''", StringComparison.Ordinal);
        return $"{setting.Key} = '{value}'";
    }

    private async Task StopAsync(Process postmaster, StopMode mode)
    {
        var signal = mode switch
        {
            StopMode.Fast => Signals.Interrupt,
            StopMode.Immediate => Signals.Quit,
            _ => Signals.Kill,
        };
        if (!postmaster.HasExited)
        {
            Signals.Send(IdOf(postmaster), signal);
        }

        try
        {
            await postmaster.WaitForExitAsync().WaitAsync(StopPatience);
        }
        catch (TimeoutException)
        {
            // Only a stopped (SIGSTOP) or hanging postmaster gets here, and that one yields to nothing else.
            Signals.Send(IdOf(postmaster), Signals.Kill);
            await postmaster.WaitForExitAsync();
        }
    }

    private async Task<bool> TryLaunchAsync(long started, CancellationToken cancellationToken)
    {
        // Once clients know the port, it stays; before, a collision is solved by another one.
        Port = _hasBeenUp ? Port : FreePort.Pick();
        var log = new ServerLog(_data);
        _postmaster = Process.Start(log.Into(["-D", _data, "-p", $"{Port}"], _binaries.Postgres, _isIsolated))!;
        while (!Postmaster.IsReady(_data, _isIsolated ? 1 : _postmaster.Id))
        {
            var isLate = TimeProvider.System.GetElapsedTime(started) > StartPatience;
            if (!_postmaster.HasExited && !isLate)
            {
                await Task.Delay(Pause, TimeProvider.System, cancellationToken);
                continue;
            }

            await StopAsync(StopMode.Kill);
            return log.TellsOfAnotherServer && !isLate
                ? false
                : throw new InvalidOperationException($"PostgreSQL from {_binaries.Directory} did not start:{Environment.NewLine}{log.Text}");
        }

        await ReadVersionAsync(cancellationToken);
        _hasBeenUp = true;
        return true;
    }

    // In a namespace of its own the postmaster is the child of what was started.
    private int IdOf(Process started)
        => _isIsolated && int.TryParse(File.ReadAllText($"/proc/{started.Id}/task/{started.Id}/children").Trim(), out var child) ? child : started.Id;

    private async Task ReadVersionAsync(CancellationToken cancellationToken)
    {
        await using var connection = new NpgsqlConnection($"{ConnectionString};Pooling=false;Timeout=15");
        await connection.OpenAsync(cancellationToken);
        Version = connection.PostgreSqlVersion;
    }
}
