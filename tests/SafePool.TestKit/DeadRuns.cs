using System.Globalization;

namespace SafePool.TestKit;

/// <summary>Cleans up behind runs that were killed: their servers outlive them.</summary>
internal static class DeadRuns
{
    private const string OwnerFile = "owner";

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);

    /// <summary>Creates a directory that sweeps leave alone for as long as its owner lives.</summary>
    public static string CreateDirectory(string root, ProcessIdentity owner)
    {
        var path = KitDirectories.Create(Path.Combine(root, $"{owner.Id}-{Guid.NewGuid():N}"));
        File.WriteAllText(Path.Combine(path, OwnerFile), owner.StartedAt?.ToString(CultureInfo.InvariantCulture));
        return path;
    }

    /// <summary>Stops the servers of all dead runs below <paramref name="root"/> and deletes their directories.</summary>
    public static async Task SweepAsync(string root)
    {
        foreach (var run in Directory.GetDirectories(root))
        {
            if (OwnerOf(run) is { IsAlive: false })
            {
                await RemoveAsync(run);
            }
        }
    }

    /// <summary>Deletes a directory with everything below; servers that are just dying may still write into it.</summary>
    public static async Task DeleteAsync(string directory)
    {
        var started = TimeProvider.System.GetTimestamp();
        while (!TryDelete(directory) && TimeProvider.System.GetElapsedTime(started) < Patience)
        {
            await Task.Delay(TimeSpan.FromMilliseconds(20), TimeProvider.System);
        }
    }

    /// <summary>Deletes a directory once.</summary>
    /// <returns>False if something is left of it: in use, or another user's.</returns>
    public static bool TryDelete(string directory)
    {
        try
        {
            Directory.Delete(directory, recursive: true);
            return true;
        }
        catch (DirectoryNotFoundException)
        {
            return !Directory.Exists(directory);
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    /// <summary>Returns the id of the server or pooler that runs in a directory, for certain; else null.</summary>
    public static int? FindServer(string directory) => Postmaster.Find(directory) ?? PoolerProcess.Find(directory);

    private static async Task RemoveAsync(string run)
    {
        try
        {
            foreach (var data in Directory.GetDirectories(run))
            {
                await StopAsync(data);
            }

            await DeleteAsync(run);
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            // Another process sweeps it at this moment, or it is another user's to sweep.
        }
    }

    private static async Task StopAsync(string data)
    {
        var started = TimeProvider.System.GetTimestamp();
        while (FindServer(data) is { } id)
        {
            // First the signal that lets the postmaster take its children along.
            var isPatient = TimeProvider.System.GetElapsedTime(started) < Patience / 2;
            Signals.Send(id, isPatient ? Signals.Quit : Signals.Kill);
            if (TimeProvider.System.GetElapsedTime(started) > Patience)
            {
                return;
            }

            await Task.Delay(TimeSpan.FromMilliseconds(20), TimeProvider.System);
        }
    }

    private static ProcessIdentity? OwnerOf(string run)
    {
        var name = Path.GetFileName(run);
        if (!int.TryParse(name.Split('-')[0], CultureInfo.InvariantCulture, out var id))
        {
            return null;
        }

        return new ProcessIdentity(id, ReadStart(Path.Combine(run, OwnerFile)));
    }

    private static long? ReadStart(string file)
    {
        try
        {
            return long.TryParse(File.ReadAllText(file), CultureInfo.InvariantCulture, out var start) ? start : null;
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}
