using System.Net.Sockets;
using Npgsql;

namespace SafePool.ChaosTests.Invariants;

/// <summary>What a rent may fail with: its own token, or one typed error.</summary>
internal static class RentFailures
{
    /// <summary>Null when this is a legitimate end of a rent; else what is wrong with it.</summary>
    /// <param name="error">What it failed with.</param>
    /// <param name="isClosed">The pool is closed, or being closed.</param>
    /// <param name="tellsErrorsOfOpens">The breaker is off, so that the first waiter is told what an open failed with.</param>
    /// <param name="own">The caller's own token.</param>
    public static string? FaultOf(Exception error, bool isClosed, bool tellsErrorsOfOpens, CancellationToken own) => error switch
    {
        OperationCanceledException cancelled when own.IsCancellationRequested && cancelled.CancellationToken == own => null,
        OperationCanceledException => "a cancellation that is not the caller's own",
        PoolClosedException => isClosed ? null : "the pool is not closed",
        PoolException { IsTransient: true } => "an error of the pool that invites retries",
        PoolException => null,
        _ when tellsErrorsOfOpens && IsFailedOpen(error) => null,
        _ => "not a typed error",
    };

    /// <summary>What an open failed with, passed on as it is.</summary>
    /// <remarks>With the breaker on (design decision D9) only what waiting cannot cure may surface like this, and nothing in the schedule is of that kind.</remarks>
    private static bool IsFailedOpen(Exception error) => error is NpgsqlException or IOException or SocketException or TimeoutException;
}
