namespace SafePool.Driver.Poolers;

/// <summary>What an error of a pooler means.</summary>
internal enum PoolerErrorKind
{
    /// <summary>It does not take a parameter that the connection string sends at the start.</summary>
    StartupParameterRefused,

    /// <summary>It has no room for another client.</summary>
    Full,

    /// <summary>It lets in only so many in a given time.</summary>
    Busy,

    /// <summary>It found no server connection in time: all are in use, or the server is down.</summary>
    NoServerInTime,

    /// <summary>It does not accept the user or the password.</summary>
    AuthenticationFailed,

    /// <summary>It does not let this client in, whoever the user is.</summary>
    AddressRefused,

    /// <summary>It wants the connection encrypted.</summary>
    EncryptionRequired,

    /// <summary>It does not know the database.</summary>
    UnknownDatabase,

    /// <summary>It serves many databases, and was not told which.</summary>
    TenantMissing,

    /// <summary>It does not know, or not at the moment, whom it is to serve.</summary>
    UnknownTenant,

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
