namespace SafePool.TestKit;

/// <summary>Programs of the system that are no part of PostgreSQL.</summary>
internal static class Programs
{
    // Not on the PATH of every user.
    private static readonly string[] SystemDirectories = ["/usr/sbin", "/usr/local/sbin"];

    /// <exception cref="InvalidOperationException">It is not on this machine.</exception>
    public static string Find(string name)
    {
        var path = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':', StringSplitOptions.RemoveEmptyEntries);
        return path.Concat(SystemDirectories).Select(directory => Path.Combine(directory, name)).FirstOrDefault(File.Exists)
            ?? throw new InvalidOperationException(
                $"No {name} found on the PATH or in {string.Join(", ", SystemDirectories)}. Install the packages pgbouncer and pgpool2, as .ci/run does.");
    }
}
