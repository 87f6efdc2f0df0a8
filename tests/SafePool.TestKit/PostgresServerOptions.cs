namespace SafePool.TestKit;

/// <summary>What a test may want different about its own server.</summary>
public sealed class PostgresServerOptions
{
    /// <summary>Gets the settings for postgresql.conf, such as <c>max_connections</c>; they win over the kit's own.</summary>
    public IDictionary<string, string> Settings { get; } = new Dictionary<string, string>(StringComparer.Ordinal)
    {
        ["max_connections"] = "200",
        ["fsync"] = "off",
        ["listen_addresses"] = "127.0.0.1",
        // As by default since PostgreSQL 14; 13 would store MD5, which rules for SCRAM refuse.
        ["password_encryption"] = "scram-sha-256",
        ["unix_socket_directories"] = "",
        // Files below the data directory, so that a killed server leaves nothing in /dev/shm.
        ["dynamic_shared_memory_type"] = "mmap",
    };

    /// <summary>Gets the lines to put before the kit's own in pg_hba.conf, which let everybody in: <c>host all app 127.0.0.1/32 scram-sha-256</c>.</summary>
    /// <remarks>The kit itself comes as <c>postgres</c> and must be let in without a password.</remarks>
    public IList<string> HostBasedAccess { get; } = [];

    /// <summary>Gets or sets whether it runs as in a container, in a namespace with process ids of its own: two such servers have sessions of equal, small ids. Needs root on Linux.</summary>
    public bool HasOwnProcessIds { get; set; }
}
