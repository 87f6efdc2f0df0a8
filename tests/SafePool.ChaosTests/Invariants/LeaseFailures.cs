using System.Data;
using System.Net.Sockets;
using Npgsql;

namespace SafePool.ChaosTests.Invariants;

/// <summary>What work on a lease may fail with while the server and the network fail.</summary>
internal static class LeaseFailures
{
    public static bool IsAcceptable(Exception error, NpgsqlConnection connection) => error switch
    {
        // The answer was somebody else's: whatever broke, that must not be.
        WrongAnswerException => false,
        NpgsqlException or IOException or SocketException or TimeoutException or OperationCanceledException => true,
        // The lease was taken away, or its connection is gone, and Npgsql says so in its own way.
        ObjectDisposedException => true,
        InvalidOperationException => IsGone(connection),
        _ => false,
    };

    private static bool IsGone(NpgsqlConnection connection)
        => (connection.FullState & ConnectionState.Open) == 0;
}
