using System.Diagnostics;

namespace SafePool.TestKit;

/// <summary>Everything that one process keeps on disk: a template cluster and the data directories copied from it.</summary>
/// <remarks>Thread-safety: every member may be called from any thread.</remarks>
internal sealed class RunDirectory
{
    private static readonly Lazy<Task<RunDirectory>> OfThisProcess = new(CreateForThisProcessAsync);
    private static readonly TimeSpan PatienceAtExit = TimeSpan.FromSeconds(2);

    private readonly Lock _gate = new();
    private readonly string _path;
    private Task<string>? _template;
    private int _clusters;

    private RunDirectory(string path)
    {
        _path = path;
    }

    /// <summary>Returns this process's directory; the first call sweeps those of dead processes.</summary>
    public static Task<RunDirectory> CurrentAsync() => OfThisProcess.Value;

    /// <summary>Creates a directory for any owner.</summary>
    public static async Task<RunDirectory> CreateAsync(string root, ProcessIdentity owner)
    {
        var path = DeadRuns.CreateDirectory(root, owner);
        await ServerAccount.Current.TakeOverAsync(path, CancellationToken.None);
        return new RunDirectory(path);
    }

    /// <summary>Copies the template, which takes a third of the time that making a cluster does.</summary>
    /// <returns>A data directory for one server.</returns>
    public async Task<string> CreateClusterAsync(PostgresBinaries binaries, CancellationToken cancellationToken)
    {
        var template = await TemplateAsync(binaries).WaitAsync(cancellationToken);
        return await CopyAsync(template, cancellationToken);
    }

    /// <summary>Copies the data directory of a server that is stopped.</summary>
    /// <returns>A data directory for one server.</returns>
    public async Task<string> CopyAsync(string cluster, CancellationToken cancellationToken)
    {
        var data = Path.Combine(_path, $"data-{Interlocked.Increment(ref _clusters)}");
        await Commands.RunAsync(ServerAccount.Current.Command(_path, "cp", "-a", cluster, data), cancellationToken);
        return data;
    }

    /// <summary>Creates a directory for one pooler, which the servers' user owns.</summary>
    public async Task<string> CreateDirectoryAsync(string name, CancellationToken cancellationToken)
    {
        var path = Path.Combine(_path, $"{name}-{Interlocked.Increment(ref _clusters)}");
        await Commands.RunAsync(ServerAccount.Current.Command(_path, "mkdir", "-m", "755", path), cancellationToken);
        return path;
    }

    private static async Task<RunDirectory> CreateForThisProcessAsync()
    {
        var root = KitDirectories.Runs;
        await DeadRuns.SweepAsync(root);
        var run = await CreateAsync(root, ProcessIdentity.Current);
        AppDomain.CurrentDomain.ProcessExit += (_, _) => run.RemoveAtExit();
        return run;
    }

    private Task<string> TemplateAsync(PostgresBinaries binaries)
    {
        lock (_gate)
        {
            return _template ??= InitializeAsync(binaries);
        }
    }

    private async Task<string> InitializeAsync(PostgresBinaries binaries)
    {
        var template = Path.Combine(_path, "template");
        string[] options = ["-D", template, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"];
        await Commands.RunAsync(ServerAccount.Current.Command(_path, binaries.Initdb, options), CancellationToken.None);
        return template;
    }

    // ProcessExit is not raised by SIGKILL nor, since .NET 10, by an unhandled SIGTERM: those runs are swept by the next.
    private void RemoveAtExit()
    {
        if (!Directory.Exists(_path))
        {
            return;
        }

        var running = Directory.GetDirectories(_path).Select(DeadRuns.FindServer).OfType<int>().ToArray();
        foreach (var id in running)
        {
            Signals.Send(id, Signals.Quit);
        }

        foreach (var id in running)
        {
            WaitOrKill(id);
        }

        DeadRuns.TryDelete(_path);
    }

    private static void WaitOrKill(int id)
    {
        try
        {
            using var postmaster = Process.GetProcessById(id);
            if (!postmaster.WaitForExit(PatienceAtExit))
            {
                Signals.Send(id, Signals.Kill);
            }
        }
        catch (ArgumentException)
        {
            // It is gone already.
        }
    }
}
