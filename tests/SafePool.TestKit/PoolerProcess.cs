using System.Diagnostics;
using System.Globalization;

namespace SafePool.TestKit;

/// <summary>The process of a pooler, in a directory of its own. Not for use by several threads at once.</summary>
/// <param name="directory">Where its configuration and log are, and where it works: by that it is found again.</param>
/// <param name="configure">Writes its configuration for a port, and says how to start it.</param>
/// <param name="readyText">What its log says about a port once it listens there.</param>
/// <param name="stopSignal">Ends it without waiting for clients.</param>
internal sealed class PoolerProcess(
    string directory, Func<int, IReadOnlyList<string>> configure, Func<int, string> readyText, int stopSignal) : IAsyncDisposable
{
    private const string IdFile = "pooler.pid";

    private static readonly TimeSpan StartPatience = TimeSpan.FromSeconds(15);
    private static readonly TimeSpan StopPatience = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(10);

    private Process? _process;
    private bool _hasBeenUp;
    private ServerLog? _log;

    public int Port { get; private set; }

    public int Id => _process?.Id ?? throw new InvalidOperationException("The pooler is stopped.");

    /// <summary>Gets what it had logged when it was ready.</summary>
    public string Log { get; private set; } = "";

    /// <summary>Gets what it has logged since it was started last, and how it ended, if it has ended by itself; else null.</summary>
    public string? LastWords => _process is { HasExited: true } dead ? $"exit code {dead.ExitCode}: {_log?.Text}" : null;

    /// <summary>Returns the id of the pooler that works in a directory, for certain; else null.</summary>
    public static int? Find(string directory)
    {
        try
        {
            return int.TryParse(File.ReadAllText(Path.Combine(directory, IdFile)), CultureInfo.InvariantCulture, out var id)
                && new DirectoryInfo($"/proc/{id}/cwd").ResolveLinkTarget(returnFinalTarget: false)?.FullName == directory
                    ? id
                    : null;
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <exception cref="InvalidOperationException">It runs already, or it does not start; then its log is told.</exception>
    public async Task StartAsync(CancellationToken cancellationToken)
    {
        if (_process is not null)
        {
            throw new InvalidOperationException("The pooler runs already.");
        }

        var started = TimeProvider.System.GetTimestamp();
        while (!await TryStartAsync(started, cancellationToken))
        {
            await Task.Delay(Pause, TimeProvider.System, cancellationToken);
        }
    }

    /// <summary>Ends it and returns once it is gone. A stopped one stays stopped.</summary>
    public async Task StopAsync()
    {
        if (Interlocked.Exchange(ref _process, null) is not { } process)
        {
            return;
        }

        using (process)
        {
            await StopAsync(process);
        }
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        await DeadRuns.DeleteAsync(directory);
    }

    private async Task<bool> TryStartAsync(long started, CancellationToken cancellationToken)
    {
        // Once clients know the port, it stays; before, a collision is solved by another one.
        Port = _hasBeenUp ? Port : FreePort.Pick();
        var command = configure(Port);
        var log = _log = new ServerLog(directory);
        _process = Process.Start(log.Into(command.Skip(1), command[0]))!;
        await File.WriteAllTextAsync(Path.Combine(directory, IdFile), $"{_process.Id}", cancellationToken);
        while (!log.Text.Contains(readyText(Port), StringComparison.Ordinal))
        {
            var isLate = TimeProvider.System.GetElapsedTime(started) > StartPatience;
            if (!_process.HasExited && !isLate)
            {
                await Task.Delay(Pause, TimeProvider.System, cancellationToken);
                continue;
            }

            await StopAsync();
            return log.TellsOfAnotherServer && !isLate
                ? false
                : throw new InvalidOperationException($"'{string.Join(' ', command)}' did not start:{Environment.NewLine}{log.Text}");
        }

        Log = log.Text;
        _hasBeenUp = true;
        return true;
    }

    private async Task StopAsync(Process process)
    {
        if (!process.HasExited)
        {
            Signals.Send(process.Id, stopSignal);
        }

        try
        {
            await process.WaitForExitAsync().WaitAsync(StopPatience);
        }
        catch (TimeoutException)
        {
            // Only one that is stopped (SIGSTOP) or hangs gets here.
            Signals.Send(process.Id, Signals.Kill);
            await process.WaitForExitAsync();
        }
    }
}
