using Npgsql;

namespace SafePool.Connections;

/// <summary>What errors of the server mean for a pool.</summary>
internal static class SqlStates
{
    /// <summary>No room for another connection: in the server, the database, the role or a pooler.</summary>
    public static bool IsServerFull(Exception error)
        => error is PostgresException { SqlState: PostgresErrorCodes.TooManyConnections } || PoolerErrors.KindOf(error) == PoolerErrorKind.Full;
}
