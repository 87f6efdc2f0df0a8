namespace SafePool.Driver.Poolers;

/// <summary>What each kind of a pooler's error means to whoever reads it, and what to do.</summary>
internal static class PoolerMeanings
{
    public static string Of(PoolerErrorKind kind) => kind switch
    {
        PoolerErrorKind.StartupParameterRefused =>
            "It takes no such start-up parameter. Remove it from the connection string (Options, Search Path) and set it on the server, with ALTER ROLE … SET; " +
            "for the pool's own timeouts, Timeouts = Auto does without it.",
        PoolerErrorKind.Full =>
            "It serves as many clients as it may. Raise max_client_conn in its configuration (Supavisor, Odyssey: pool_size, client_max), " +
            "or lower MaxSize here, times the number of processes.",
        PoolerErrorKind.Busy => "It lets in only so many connections in a given time. Lower MaxConcurrentOpens, or keep connections longer (IdleTimeout, MaxLifetime).",
        PoolerErrorKind.NoServerInTime =>
            "No server connection came free within its query_wait_timeout, checkout or borrow timeout: all of them are in use, it is paused, or the server is down. " +
            "Look at SHOW POOLS in its console; raise default_pool_size, or keep leases shorter.",
        PoolerErrorKind.AuthenticationFailed =>
            "It does not know this user, or has another password for it. Look at its auth_file, auth_query or secrets; the server itself was not asked.",
        PoolerErrorKind.AddressRefused => "It does not let clients in from this address. Add the address to its list.",
        PoolerErrorKind.EncryptionRequired => "It wants encrypted connections. Say SSL Mode=Require, or better, in the connection string.",
        PoolerErrorKind.UnknownDatabase => "Its configuration (PgBouncer: section [databases]) has no such entry. Add it there, or correct Database in the connection string.",
        PoolerErrorKind.TenantMissing => "It serves many databases. Name yours as its provider asks for: in Username, in Host or in Options.",
        PoolerErrorKind.UnknownTenant => "It does not know this project or user, or not at the moment: correct Username in the connection string, or see whether the project is paused.",
        PoolerErrorKind.Disabled => "An administrator has closed it for the time being. It opens again with ENABLE, RESUME or a restart.",
        PoolerErrorKind.ServerLoginRefused =>
            "The server did not let the pooler in: the fault is in the pooler's configuration (user, password or database of its entry in [databases]), not in this connection string.",
        PoolerErrorKind.ServerLost =>
            "It cannot reach the server. Most poolers try again by themselves (PgBouncer: every server_login_retry); Pgpool-II may have to be told that a node is back (pcp_attach_node).",
        PoolerErrorKind.ServerNotSetUp =>
            "The server went away while it passed on the session's settings, or refused one of them. If this lasts while the server is up, look for a wrong value in the connection string (Timezone, Encoding).",
        PoolerErrorKind.TimeLimit =>
            "One of its own time limits has ended the session. Look for query_timeout, idle_transaction_timeout and client_idle_timeout in its configuration.",
        _ => "It gives out servers by statement, so there are no transactions. Set pool_mode to transaction or session.",
    };
}
