using static SafePool.Driver.Poolers.PoolerErrorKind;

namespace SafePool.Driver.Poolers;

/// <summary>What poolers and proxies say: data only.</summary>
/// <remarks>
/// They say it under a SQLSTATE that many other things share (08P01, XX000, 08006, 58000), so only words tell. Where the SQLSTATE says it all (28P01, 53300) there is nothing to read; words that nobody here knows may still take a refusal back (<see cref="InVain.TakenBackBy"/>).
/// From the sources of PgBouncer 1.18 and 1.24, Pgpool-II 4.3, Supavisor 1 and 2, Odyssey, PgCat, PgDog, pg_doorman and Neon's proxy, and from the documentation of Amazon RDS Proxy.
/// </remarks>
internal static class PoolerWords
{
    // Neon passes PgBouncer's on under its own.
    private static readonly string[] _pgBouncer = ["08P01", "XX000"];
    private static readonly string[] _pgpool = ["XX000", "08P01"];
    private static readonly string[] _supavisor = ["XX000", "08P01", "08006"];
    private static readonly string[] _odyssey = ["08006", "08P01", "28000", "53300", "58000"];
    private static readonly string[] _rust = ["58000", "58006", "57014", "08006", "08004"];
    private static readonly string[] _doorman = ["3D000", "58000", "08006"];
    private static readonly string[] _neon = ["XX000"];
    private static readonly string[] _any = [];

    /// <summary>In the order in which they are tried: the server's refusals of a pooler look like the pooler's own, but for the end.</summary>
    public static IReadOnlyList<PoolerWord> All { get; } =
    [
        .. PgBouncer(), .. Pgpool(), .. Supavisor(), .. Odyssey(), .. PgCatAndKin(), .. PgDoorman(), .. Neon(), .. RdsProxy(),
    ];

    private static PoolerWord[] PgBouncer() =>
    [
        new(StartupParameterRefused, _pgBouncer, "unsupported startup parameter*"),
        new(Full, _pgBouncer, "no more connections allowed*"),
        new(Full, _pgBouncer, "client connections exceeded*"),
        new(NoServerInTime, _pgBouncer, "query_wait_timeout"),
        new(ServerLoginRefused, ["08P01"], "password authentication failed for user*"),
        new(ServerLoginRefused, _pgBouncer, "database \"*\" does not exist"),
        new(ServerLoginRefused, _pgBouncer, "role \"*\" does not exist"),
        new(AuthenticationFailed, _pgBouncer, "*authentication failed"),
        new(AuthenticationFailed, _pgBouncer, "no such user*"),
        new(UnknownDatabase, _pgBouncer, "no such database*"),
        new(Disabled, _pgBouncer, "database \"*\" is disabled"),
        new(Disabled, _pgBouncer, "*shutting down*"),
        new(ServerLost, _pgBouncer, "server login has been failing*"),
        new(ServerLost, _pgBouncer, "pgbouncer cannot connect to server*"),
        new(ServerLost, _pgBouncer, "server conn crashed*"),
        new(ServerNotSetUp, _pgBouncer, "invalid server parameter"),
        new(TimeLimit, _pgBouncer, "idle transaction timeout"),
        new(TimeLimit, _pgBouncer, "idle_transaction_timeout"),
        new(TimeLimit, _pgBouncer, "query timeout"),
        new(TimeLimit, _pgBouncer, "query_timeout"),
        new(TimeLimit, _pgBouncer, "client_idle_timeout"),
        new(TimeLimit, _pgBouncer, "client_login_timeout"),
        new(StatementMode, _pgBouncer, "*not allowed in statement pooling mode"),
    ];

    private static PoolerWord[] Pgpool() =>
    [
        new(ServerLost, _pgpool, "failed to create a backend connection*"),
        new(ServerLost, _pgpool, "unable to read data from DB node*"),
        new(ServerLost, _pgpool, "all backend nodes are down*"),
    ];

    private static PoolerWord[] Supavisor() =>
    [
        new(Full, _supavisor, "*max clients reached*"),
        new(Full, _supavisor, "*max client connections reached*"),
        new(Full, _supavisor, "*max pools count reached*"),
        new(NoServerInTime, _supavisor, "*unable to check out *"),
        new(NoServerInTime, _supavisor, "*failed to check out *"),
        new(ServerLost, _supavisor, "*connection to database closed*"),
        new(ServerLost, _supavisor, "*DbHandler exited*"),
        new(ServerLost, _supavisor, "*auth_query connection failed*"),
        new(ServerLost, _supavisor, "*authentication query failed*"),
        new(ServerLost, _supavisor, "*auth_query secret check timed out*"),
        new(TenantMissing, _supavisor, "*no tenant identifier provided*"),
        new(UnknownTenant, _supavisor, "tenant or user not found"),
        new(UnknownTenant, _supavisor, "*tenant/user * not found"),
        new(AddressRefused, _supavisor, "*address not in tenant allow_list*"),
        new(EncryptionRequired, _supavisor, "*SSL connection is required*"),
    ];

    // It begins everything with its own name and that of the client: "odyssey: c1a2b3: ".
    private static PoolerWord[] Odyssey() =>
    [
        new(Full, _odyssey, "*too many tcp connections*"),
        new(Full, _odyssey, "*too many client tcp connections*"),
        new(Full, _odyssey, "*too many active clients for user*"),
        new(NoServerInTime, _odyssey, "*failed to get remote server connection"),
        new(ServerLost, _odyssey, "*failed to connect to remote server*"),
        new(ServerLost, _odyssey, "*remote server read/write error*"),
        new(ServerLost, _odyssey, "*can't find suitable host for tsa*"),
        new(ServerLost, _odyssey, "*failed to make auth query"),
        new(AuthenticationFailed, _odyssey, "*ldap authentication failed for user*"),
        new(EncryptionRequired, _odyssey, "*TLS connection required"),
        new(EncryptionRequired, _odyssey, "odyssey: *SSL is required"),
        new(Disabled, _odyssey, "*Odyssey is gracefully shutting down"),
        new(TimeLimit, _odyssey, "*Odyssey has dropped the connection"),
    ];

    private static PoolerWord[] PgCatAndKin() =>
    [
        new(NoServerInTime, _rust, "could not get connection from the pool*"),
        new(NoServerInTime, _rust, "*checkout timeout"),
        new(NoServerInTime, _rust, "Query wait timed out*"),
        new(NoServerInTime, _rust, "checkout failure limit reached*"),
        new(ServerLost, _rust, "Pool down for database*"),
        new(ServerLost, _rust, "connection pool for user * is down"),
        new(ServerLost, _rust, "All database servers are currently unavailable*"),
        new(ServerLost, _rust, "*all replicas down"),
        new(ServerLost, _rust, "*pool is banned"),
        new(ServerLost, _rust, "*pool is not healthy"),
        new(ServerLost, _rust, "pool: no primary"),
        new(UnknownDatabase, _rust, "No pool configured for database*"),
        new(Disabled, ["58000"], "terminating connection due to administrator command"),
        new(Disabled, _rust, "*pooler is shut* down*"),
        new(EncryptionRequired, _rust, "only TLS connections are allowed"),
    ];

    private static PoolerWord[] PgDoorman() =>
    [
        new(ServerLost, _doorman, "Unable to retrieve server parameters*"),
        new(ServerLost, _doorman, "Unable to connect to database server*"),
        new(ServerLost, _doorman, "Auth query service temporarily unavailable*"),
        new(ServerLost, _doorman, "Authentication service unavailable*"),
        new(ServerLost, _doorman, "Server unavailable:*"),
        new(UnknownDatabase, _doorman, "No connection pool configured for database*"),
        new(UnknownDatabase, _doorman, "No pool configured for database*"),
    ];

    private static PoolerWord[] Neon() =>
    [
        new(AuthenticationFailed, _neon, "password authentication failed for user*"),
        new(Busy, _neon, "Too many connections to this endpoint*"),
        new(Busy, _neon, "Too many connections attempts"),
        new(Busy, _neon, "Failed to acquire permit to connect to the database*"),
        new(ServerLost, _neon, "Couldn't connect to compute node*"),
        new(TenantMissing, _neon, "Endpoint ID is not specified*"),
        new(AddressRefused, _neon, "This IP address * is not allowed to connect*"),
        new(AddressRefused, _neon, "This connection is trying to access this endpoint from a blocked network*"),
        new(EncryptionRequired, _neon, "connection is insecure*"),
    ];

    private static PoolerWord[] RdsProxy() =>
    [
        new(StartupParameterRefused, _any, "Feature not supported: RDS Proxy currently doesn*t support *option*"),
        new(Full, _any, "The maximum number of client connections to the proxy exceeded*"),
        new(Busy, _any, "Rate of connection to proxy exceeded*"),
        new(Busy, _any, "The IAM authentication failed because of too many competing requests*"),
        new(NoServerInTime, _any, "Timed-out waiting to acquire database connection*"),
        new(AuthenticationFailed, _any, "This RDS proxy has no credentials for the role*"),
        new(AuthenticationFailed, _any, "The password that was provided for the role * is wrong*"),
        new(AuthenticationFailed, _any, "*IAM authentication failed for*"),
        new(EncryptionRequired, _any, "This RDS Proxy requires TLS connections*"),
        new(EncryptionRequired, _any, "IAM authentication is allowed only with SSL connections*"),
    ];
}
