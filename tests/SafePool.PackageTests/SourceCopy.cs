using System.Diagnostics;
using System.Runtime.CompilerServices;

namespace SafePool.PackageTests;

/// <summary>A copy of the library's sources as a fresh clone of a published repository: with a commit and a remote, and nothing that was built.</summary>
/// <remarks>The copy is what makes the outcome the same on every machine: wherever the tests run from, with a remote or without, while others build the originals.</remarks>
internal static class SourceCopy
{
    public const string Remote = "https://github.com/safepool-tests/safepool";

    private const string Moment = "2026-01-01T00:00:00Z";

    /// <summary>Copies them, and commits: the same sources give the same commit each time.</summary>
    /// <returns>The commit.</returns>
    public static async Task<string> MakeAsync(string target)
    {
        var root = Root();
        CopyFiles(root, target);
        CopyTree(Path.Combine(root, "src"), Path.Combine(target, "src"));
        var projects = Directory.GetFiles(Path.Combine(target, "src"), "*.csproj", SearchOption.AllDirectories).Order(StringComparer.Ordinal);
        await File.WriteAllTextAsync(
            Path.Combine(target, "Packages.slnx"),
            $"<Solution>{string.Concat(projects.Select(project => $"<Project Path=\"{Path.GetRelativePath(target, project)}\" />"))}</Solution>");

        await GitAsync(target, "init", "-q", "-b", "main");
        await GitAsync(target, "remote", "add", "origin", Remote);
        await GitAsync(target, "add", "-A");
        await GitAsync(target, "-c", "user.name=tests", "-c", "user.email=tests@localhost", "-c", "commit.gpgsign=false", "commit", "-q", "-m", "Sources");
        return (await GitAsync(target, "rev-parse", "HEAD")).Trim();
    }

    /// <summary>A file of the test project's own.</summary>
    public static string Beside(string file, [CallerFilePath] string thisFile = "") => Path.Combine(Path.GetDirectoryName(thisFile)!, file);

    /// <summary>Copies a directory without what was built in it.</summary>
    public static void CopyTree(string source, string target)
    {
        CopyFiles(source, target);
        foreach (var directory in Directory.GetDirectories(source))
        {
            if (Path.GetFileName(directory) is not ("bin" or "obj") and var name)
            {
                CopyTree(directory, Path.Combine(target, name));
            }
        }
    }

    private static void CopyFiles(string source, string target)
    {
        Directory.CreateDirectory(target);

        // .git is a file in a work tree of its own.
        foreach (var file in Directory.GetFiles(source).Where(file => Path.GetFileName(file) != ".git"))
        {
            File.Copy(file, Path.Combine(target, Path.GetFileName(file)));
        }
    }

    private static string Root() => Path.GetFullPath(Beside("../.."));

    private static Task<string> GitAsync(string directory, params string[] arguments)
    {
        var start = new ProcessStartInfo("git", arguments) { WorkingDirectory = directory };
        foreach (var name in start.Environment.Keys.Where(name => name.StartsWith("GIT_", StringComparison.Ordinal)).ToArray())
        {
            start.Environment.Remove(name);
        }

        start.Environment["GIT_AUTHOR_DATE"] = start.Environment["GIT_COMMITTER_DATE"] = Moment;
        return Shell.RunAsync(start);
    }
}
