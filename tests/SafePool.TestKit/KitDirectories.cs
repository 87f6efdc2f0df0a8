namespace SafePool.TestKit;

/// <summary>Where the kit may keep files such that the servers' user can get at them.</summary>
internal static class KitDirectories
{
    private const UnixFileMode OwnerWrites = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute
        | UnixFileMode.GroupRead | UnixFileMode.GroupExecute | UnixFileMode.OtherRead | UnixFileMode.OtherExecute;

    private const UnixFileMode EverybodyWrites = OwnerWrites | UnixFileMode.GroupWrite | UnixFileMode.OtherWrite | UnixFileMode.StickyBit;

    /// <summary>Gets the parent of all runs' directories. Shared by the users of the machine, like the temp directory itself.</summary>
    public static string Runs => Shared(Path.Combine(Temp, "safepool-testkit"));

    /// <summary>Gets where downloaded servers are kept for later runs.</summary>
    public static string Cache => Environment.GetEnvironmentVariable("XDG_CACHE_HOME") is { Length: > 0 } home && IsReachable(home)
        ? Create(Path.Combine(home, "safepool-testkit"))
        : Create(Path.Combine(Temp, $"safepool-testkit-cache-{Environment.UserName}"));

    // Where the temp directory is private to root, another user's server could not get into it.
    private static string Temp => IsReachable(Path.GetTempPath()) ? Path.GetTempPath() : "/tmp";

    /// <summary>Creates a directory that others may read, whatever the umask says.</summary>
    public static string Create(string path)
    {
        RefuseWindows();
        if (!OperatingSystem.IsWindows())
        {
            Directory.CreateDirectory(path);
            File.SetUnixFileMode(path, OwnerWrites);
        }

        return path;
    }

    /// <exception cref="PlatformNotSupportedException">Servers of one's own are for Linux; elsewhere there are the other two ways.</exception>
    public static void RefuseWindows()
    {
        if (!OperatingSystem.IsLinux())
        {
            throw new PlatformNotSupportedException("The test kit starts servers of its own on Linux only. Set SAFEPOOL_POSTGRES instead.");
        }
    }

    private static string Shared(string path)
    {
        RefuseWindows();
        if (!OperatingSystem.IsWindows() && !Directory.Exists(path))
        {
            Directory.CreateDirectory(path);
            File.SetUnixFileMode(path, EverybodyWrites);
        }

        return path;
    }

    private static bool IsReachable(string path)
    {
        if (ServerAccount.Current.UserName is null || OperatingSystem.IsWindows())
        {
            return true;
        }

        for (var directory = new DirectoryInfo(path); directory is not null; directory = directory.Parent)
        {
            if (directory.Exists && !directory.UnixFileMode.HasFlag(UnixFileMode.OtherExecute))
            {
                return false;
            }
        }

        return true;
    }
}
