using System.Globalization;

namespace SafePool.TestKit;

/// <summary>The programs of one PostgreSQL installation.</summary>
public sealed class PostgresBinaries
{
    private const string DebianRoot = "/usr/lib/postgresql";

    private PostgresBinaries(string directory)
    {
        Directory = directory;
    }

    /// <summary>Gets the directory that <c>postgres</c> and <c>initdb</c> are in.</summary>
    public string Directory { get; }

    internal string Postgres => Path.Combine(Directory, "postgres");

    internal string Initdb => Path.Combine(Directory, "initdb");

    /// <summary>Finds a server: the one that SAFEPOOL_PG_VERSION asks for, else on the PATH, else the newest of the system's.</summary>
    /// <returns>Null where there is none.</returns>
    /// <exception cref="InvalidOperationException">SAFEPOOL_PG_VERSION names a version that is not known or cannot be fetched.</exception>
    public static async Task<PostgresBinaries?> FindAsync(CancellationToken cancellationToken = default)
    {
        if (!OperatingSystem.IsLinux())
        {
            return null;
        }

        if (Environment.GetEnvironmentVariable("SAFEPOOL_PG_VERSION") is { Length: > 0 } version)
        {
            return new PostgresBinaries(await NpmBinaries.GetAsync(version, cancellationToken));
        }

        var path = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':', StringSplitOptions.RemoveEmptyEntries);
        var found = path.Select(RealDirectory).Concat(SystemDirectories()).FirstOrDefault(HasPrograms);
        return found is null ? null : new PostgresBinaries(found);
    }

    // Programs on the PATH are often links, and initdb looks for postgres beside itself.
    private static string RealDirectory(string directory)
    {
        var postgres = new FileInfo(Path.Combine(directory, "postgres"));
        return postgres.Exists && postgres.ResolveLinkTarget(returnFinalTarget: true) is { } target
            ? Path.GetDirectoryName(target.FullName)!
            : directory;
    }

    private static IEnumerable<string> SystemDirectories()
        => System.IO.Directory.Exists(DebianRoot)
            ? System.IO.Directory.GetDirectories(DebianRoot).OrderByDescending(MajorVersion).Select(version => Path.Combine(version, "bin"))
            : [];

    private static double MajorVersion(string directory)
        => double.TryParse(Path.GetFileName(directory), CultureInfo.InvariantCulture, out var version) ? version : 0;

    private static bool HasPrograms(string directory)
        => File.Exists(Path.Combine(directory, "postgres")) && File.Exists(Path.Combine(directory, "initdb"));
}
