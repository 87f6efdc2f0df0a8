using System.Globalization;

namespace SafePool.TestKit;

/// <summary>What a data directory's <c>postmaster.pid</c> tells about the server running in it.</summary>
internal static class Postmaster
{
    private const int StatusLine = 7;

    /// <summary>Returns the id of the postmaster that runs in a data directory, for certain; else null.</summary>
    public static int? Find(string data)
        => ReadLock(data) is [var line, ..] && int.TryParse(line, CultureInfo.InvariantCulture, out var id) && IsPostgresIn(data, id)
            ? id
            : null;

    /// <summary>Tells whether this postmaster, and not another one at the same port, accepts connections.</summary>
    public static bool IsReady(string data, int id)
        => ReadLock(data) is { Length: > StatusLine } lines
            && lines[0] == id.ToString(CultureInfo.InvariantCulture)
            && lines[StatusLine].Trim() == "ready";

    // The lock file may be stale and its process id given out again: only the command line proves what runs there.
    private static bool IsPostgresIn(string data, int id)
    {
        try
        {
            var arguments = File.ReadAllText($"/proc/{id}/cmdline").Split('\0');
            return Path.GetFileName(arguments[0]) == "postgres" && arguments.Contains(data);
        }
        catch (IOException)
        {
            return false;
        }
    }

    private static string[] ReadLock(string data)
    {
        try
        {
            return File.ReadAllLines(Path.Combine(data, "postmaster.pid"));
        }
        catch (IOException)
        {
            return [];
        }
    }
}
