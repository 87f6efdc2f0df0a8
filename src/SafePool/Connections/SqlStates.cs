using System.Net.Sockets;
using System.Security.Authentication;
using Npgsql;

namespace SafePool.Connections;

/// <summary>What errors of the server, and of the way to it, mean for a pool.</summary>
internal static class SqlStates
{
    private const string InsufficientResources = "53";
    private const string OperatorIntervention = "57";
    private const string SystemError = "58";
    private const string ConnectionException = "08";

    /// <summary>No room for another connection: in the server, the database, the role or a pooler.</summary>
    public static bool IsServerFull(Exception error)
        => error is PostgresException { SqlState: PostgresErrorCodes.TooManyConnections } || PoolerErrors.KindOf(error) == PoolerErrorKind.Full;

    /// <summary>Whether an open that failed like this may succeed later without anybody changing anything: an outage, as opposed to a mistake.</summary>
    /// <remarks>What an open throws need not be an <see cref="NpgsqlException"/>. A name that cannot be resolved counts as an outage: name servers have blips too.</remarks>
    public static bool IsCuredByWaiting(Exception error) => PoolerErrors.IsCurable(error) ?? IsOutage(error);

    private static bool IsOutage(Exception error) => error switch
    {
        PostgresException server => IsOutage(server.SqlState),

        // One for every host, from a string that has several: it is a mistake only when each of them says so.
        AggregateException hosts => hosts.InnerExceptions.Any(IsCuredByWaiting),

        // By a promotion, or a name that moves.
        WrongRoleException => true,
        SocketException or TimeoutException => true,
        AuthenticationException => false,
        IOException { InnerException: AuthenticationException } => false,
        IOException => true,
        NpgsqlException { InnerException: { } cause } => IsCuredByWaiting(cause),

        _ => false,
    };

    private static bool IsOutage(string sqlState)
        => sqlState != PostgresErrorCodes.ProtocolViolation
            && sqlState.Length == 5
            && sqlState[..2] is InsufficientResources or OperatorIntervention or SystemError or ConnectionException;
}
