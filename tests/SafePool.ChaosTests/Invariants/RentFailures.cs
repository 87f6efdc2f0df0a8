using System.Net.Sockets;
using Npgsql;

namespace SafePool.ChaosTests.Invariants;

/// <summary>What a rent may fail with: its own token, or one typed error.</summary>
internal static class RentFailures
{
    /// <summary>Null when this is a legitimate end of a rent; else what is wrong with it.</summary>
    public static string? FaultOf(Exception error, bool isClosed, CancellationToken own) => error switch
    {
        OperationCanceledException cancelled when own.IsCancellationRequested && cancelled.CancellationToken == own => null,
        OperationCanceledException => "a cancellation that is not the caller's own",
        PoolClosedException => isClosed ? null : "the pool is not closed",
        PoolException { IsTransient: true } => "an error of the pool that invites retries",
        PoolException => null,
        _ when IsFailedOpen(error) || KnownFaults.IsStateReadInARace(error) => null,
        _ => "not a typed error",
    };

    /// <summary>What an open failed with, passed on as it is.</summary>
    /// <remarks>
    /// To be tightened once failed opens are ridden through (design decision D9): then only what waiting cannot cure may surface like this, and nothing in the
    /// schedule is of that kind, so this becomes <see langword="false"/>. Until then the first waiter gets whatever the open threw.
    /// </remarks>
    private static bool IsFailedOpen(Exception error) => error is NpgsqlException or IOException or SocketException or TimeoutException;
}
