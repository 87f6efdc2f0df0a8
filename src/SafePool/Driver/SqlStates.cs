using System.Net.Sockets;
using Npgsql;
using SafePool.Driver.Poolers;

namespace SafePool.Driver;

/// <summary>What errors of the server, and of the way to it, mean for a pool.</summary>
internal static class SqlStates
{
    /// <summary>No room for another connection: in the server, the database, the role or a pooler, in words that are known.</summary>
    public static bool IsServerFull(Exception error)
        => OpenFailures.AnswerIn(error) is { } answer
            && (answer.SqlState == PostgresErrorCodes.TooManyConnections || PoolerErrors.KindOf(answer) == PoolerErrorKind.Full);

    /// <summary>Whether an open that failed like this may succeed later without anybody changing anything: true unless it proves the contrary.</summary>
    public static bool IsCuredByWaiting(Exception error) => OpenFailures.KindOf(error) == OpenFailureKind.Curable;

    /// <summary>Whether nobody has answered, as opposed to an answer that was a no: one such proves little.</summary>
    public static bool IsSilence(Exception error) => error switch
    {
        PostgresException => false,
        AggregateException hosts => hosts.InnerExceptions.All(IsSilence),
        SocketException socket => socket.SocketErrorCode == SocketError.TimedOut,
        TimeoutException or OperationCanceledException => true,
        { InnerException: { } cause } => IsSilence(cause),
        _ => false,
    };
}
