namespace SafePool.TestKit;

/// <summary>What a test may want different about its own PgBouncer.</summary>
public sealed class PgBouncerOptions
{
    /// <summary>The environment variable that says where <c>.ci/fetch-pgbouncer</c> has unpacked PgBouncer 1.24.</summary>
    public const string Directory124 = "SAFEPOOL_PGBOUNCER_124";

    /// <summary>Gets whether <see cref="Use124"/> can be asked for on this machine.</summary>
    public static bool Has124 => Environment.GetEnvironmentVariable(Directory124) is { Length: > 0 };

    /// <summary>Gets or sets for how long a client keeps a server connection. Default: <see cref="PoolMode.Session"/>.</summary>
    public PoolMode Mode { get; set; }

    /// <summary>Gets or sets whether PgBouncer 1.24 is wanted, from where <see cref="Directory124"/> says, and not the installed one.</summary>
    public bool Use124 { get; set; }

    /// <summary>Gets the databases by name, each with its connection parameters beyond host and port; <c>*</c> is every other one.</summary>
    public IDictionary<string, string> Databases { get; } = new Dictionary<string, string>(StringComparer.Ordinal) { ["*"] = "" };

    /// <summary>Gets the users that are let in, with their passwords.</summary>
    public IDictionary<string, string> Users { get; } = new Dictionary<string, string>(StringComparer.Ordinal) { ["postgres"] = "" };

    /// <summary>Gets the settings of the section [pgbouncer], such as <c>default_pool_size</c>; they win over the kit's own.</summary>
    public IDictionary<string, string> Settings { get; } = new Dictionary<string, string>(StringComparer.Ordinal)
    {
        ["auth_type"] = "trust",
        ["admin_users"] = "postgres",
        ["max_client_conn"] = "200",
        ["default_pool_size"] = "20",
        // 15 s by default: after a server has been down for a moment a test would wait that long.
        ["server_login_retry"] = "1",
    };
}
