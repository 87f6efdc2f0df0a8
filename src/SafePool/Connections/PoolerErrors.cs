using Npgsql;

namespace SafePool.Connections;

/// <summary>What an error of a pooler means.</summary>
internal enum PoolerErrorKind
{
    /// <summary>It does not take a parameter that the connection string sends at the start.</summary>
    StartupParameterRefused,

    /// <summary>It has no room for another client.</summary>
    Full,

    /// <summary>It found no server connection in time: all are in use, or the server is down.</summary>
    NoServerInTime,

    /// <summary>It does not accept the user or the password.</summary>
    AuthenticationFailed,

    /// <summary>It does not know the database.</summary>
    UnknownDatabase,

    /// <summary>An administrator has closed the database, or it, for the time being.</summary>
    Disabled,

    /// <summary>The server does not let the pooler in: the fault is in the pooler's configuration.</summary>
    ServerLoginRefused,

    /// <summary>It cannot reach the server, or has lost it.</summary>
    ServerLost,

    /// <summary>The server was lost, or objected, while the pooler set it up for this client.</summary>
    ServerNotSetUp,

    /// <summary>One of its own time limits has ended the session.</summary>
    TimeLimit,

    /// <summary>It gives out servers by statement: there are no transactions.</summary>
    StatementMode,
}

/// <summary>Reads the errors of poolers: they come with one SQLSTATE, 08P01 (PgBouncer) or XX000 (Pgpool-II), and say what they mean in words only.</summary>
/// <remarks>The words are those of PgBouncer 1.18 and 1.24, and of Pgpool-II 4.3. Where PgBouncer 1.24 passes on what the server said, the SQLSTATE is the server's.</remarks>
internal static class PoolerErrors
{
    // In this order: the server's refusals of a pooler look like the pooler's own, but for the end.
    private static readonly Reading[] _readings =
    [
        new(PoolerErrorKind.StartupParameterRefused, text => text.StartsWith("unsupported startup parameter", StringComparison.Ordinal)),
        new(PoolerErrorKind.Full, text => text.StartsWith("no more connections allowed", StringComparison.Ordinal)
            || text.StartsWith("client connections exceeded", StringComparison.Ordinal)),
        new(PoolerErrorKind.NoServerInTime, text => text == "query_wait_timeout"),
        new(PoolerErrorKind.ServerLoginRefused, text => text.StartsWith("password authentication failed for user", StringComparison.Ordinal)
            || (text.StartsWith("database \"", StringComparison.Ordinal) && text.EndsWith("\" does not exist", StringComparison.Ordinal))
            || (text.StartsWith("role \"", StringComparison.Ordinal) && text.EndsWith("\" does not exist", StringComparison.Ordinal))),
        new(PoolerErrorKind.AuthenticationFailed, text => text.EndsWith("authentication failed", StringComparison.Ordinal)
            || text.StartsWith("no such user", StringComparison.Ordinal)),
        new(PoolerErrorKind.UnknownDatabase, text => text.StartsWith("no such database", StringComparison.Ordinal)),
        new(PoolerErrorKind.Disabled, text => (text.StartsWith("database \"", StringComparison.Ordinal) && text.EndsWith("\" is disabled", StringComparison.Ordinal))
            || text.Contains("shutting down", StringComparison.OrdinalIgnoreCase)),
        new(PoolerErrorKind.ServerLost, text => text.StartsWith("server login has been failing", StringComparison.Ordinal)
            || text.StartsWith("pgbouncer cannot connect to server", StringComparison.Ordinal)
            || text.StartsWith("server conn crashed", StringComparison.Ordinal)

            // Pgpool-II.
            || text.StartsWith("failed to create a backend connection", StringComparison.Ordinal)
            || text.StartsWith("unable to read data from DB node", StringComparison.Ordinal)
            || text.StartsWith("all backend nodes are down", StringComparison.Ordinal)),
        new(PoolerErrorKind.ServerNotSetUp, text => text == "invalid server parameter"),
        new(PoolerErrorKind.TimeLimit, text => text is "idle transaction timeout" or "query timeout" or "client_idle_timeout"
            or "idle_transaction_timeout" or "query_timeout" or "client_login_timeout"),
        new(PoolerErrorKind.StatementMode, text => text.EndsWith("not allowed in statement pooling mode", StringComparison.Ordinal)),
    ];

    /// <summary>What it means; null when no pooler is known to say this.</summary>
    public static PoolerErrorKind? KindOf(Exception error) => Said(error) is { } said
        ? _readings.FirstOrDefault(reading => reading.Fits(said.MessageText))?.Kind
        : null;

    /// <summary>Whether waiting cures it, without anybody changing a configuration; null when this is no error of a pooler's.</summary>
    public static bool? IsCurable(Exception error) => KindOf(error) switch
    {
        null => null,
        PoolerErrorKind.Full or PoolerErrorKind.NoServerInTime or PoolerErrorKind.ServerLost => true,

        // By an administrator, who has begun something that ends.
        PoolerErrorKind.Disabled => true,
        PoolerErrorKind.TimeLimit => true,

        // A server that goes down in that moment is the usual cause. Of a wrong value callers learn once their time is up.
        PoolerErrorKind.ServerNotSetUp => true,
        _ => false,
    };

    /// <summary>The same error with what it means and what to do about it; null when this is no error of a pooler's.</summary>
    public static NpgsqlException? Explain(Exception error)
        => error is PostgresException said && KindOf(said) is { } kind
            ? new NpgsqlException($"The pooler in front of the server refused: \"{said.MessageText}\" ({said.SqlState}). {Meaning(kind)}", said)
            : null;

    private static PostgresException? Said(Exception error) => error switch
    {
        PostgresException said => IsPoolersState(said.SqlState) ? said : null,
        NpgsqlException { InnerException: PostgresException said } => IsPoolersState(said.SqlState) ? said : null,
        _ => null,
    };

    // PgBouncer's, and Pgpool-II's for what it does not pass on.
    private static bool IsPoolersState(string sqlState) => sqlState is PostgresErrorCodes.ProtocolViolation or PostgresErrorCodes.InternalError;

    private static string Meaning(PoolerErrorKind kind) => kind switch
    {
        PoolerErrorKind.StartupParameterRefused =>
            "PgBouncer takes no such start-up parameter. Remove it from the connection string (Options, Search Path) and set it on the server, with ALTER ROLE … SET; " +
            "for the pool's own timeouts, Timeouts = Auto does without it.",
        PoolerErrorKind.Full =>
            "It serves as many clients as it may. Raise max_client_conn in its configuration, or lower MaxSize here, times the number of processes.",
        PoolerErrorKind.NoServerInTime =>
            "No server connection came free within its query_wait_timeout: all of them are in use, it is paused, or the server is down. Look at SHOW POOLS in its console; " +
            "raise default_pool_size, or keep leases shorter.",
        PoolerErrorKind.AuthenticationFailed =>
            "It does not know this user, or has another password for it. Look at its auth_file or auth_query; the server itself was not asked.",
        PoolerErrorKind.UnknownDatabase => "Its section [databases] has no such entry. Add it there, or correct Database in the connection string.",
        PoolerErrorKind.Disabled => "An administrator has closed it for the time being. It opens again with ENABLE, RESUME or a restart.",
        PoolerErrorKind.ServerLoginRefused =>
            "The server did not let the pooler in: the fault is in the pooler's configuration (user, password or database of its entry in [databases]), not in this connection string.",
        PoolerErrorKind.ServerLost => "It cannot reach the server. PgBouncer tries again by itself, every server_login_retry; Pgpool-II may have to be told that a node is back (pcp_attach_node).",
        PoolerErrorKind.ServerNotSetUp =>
            "The server went away while it passed on the session's settings, or refused one of them. If this lasts while the server is up, look for a wrong value in the connection string (Timezone, Encoding).",
        PoolerErrorKind.TimeLimit => "One of its own time limits has ended the session. Look for query_timeout, idle_transaction_timeout and client_idle_timeout in its configuration.",
        _ => "It gives out servers by statement, so there are no transactions. Set pool_mode to transaction or session.",
    };

    private sealed record Reading(PoolerErrorKind Kind, Func<string, bool> Fits);
}
