using Npgsql;

namespace SafePool.Connections;

/// <summary>What errors of the server mean for a pool.</summary>
internal static class SqlStates
{
    /// <summary>No room for another connection: in the server, the database or the role.</summary>
    public static bool IsServerFull(Exception error)
        => error is PostgresException { SqlState: PostgresErrorCodes.TooManyConnections };
}
