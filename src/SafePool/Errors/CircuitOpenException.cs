using SafePool.Reports;

namespace SafePool;

/// <summary>No connection could be opened for longer than <see cref="BreakerOptions.TripAfter"/>, and none was idle.</summary>
/// <remarks>
/// The exception is the caller's own; <see cref="Exception.InnerException"/> is what the last open failed with, the same for all.
/// </remarks>
public sealed class CircuitOpenException : PoolException
{
    internal CircuitOpenException(PoolSnapshot snapshot, TimeSpan failingFor, TimeSpan retryAfter, Exception? lastFailure)
        : base(Sentences.CircuitOpen(snapshot, failingFor, retryAfter, lastFailure), snapshot, lastFailure)
    {
        FailingFor = failingFor;
        RetryAfter = retryAfter;
    }

    /// <summary>Gets for how long no open has succeeded.</summary>
    public TimeSpan FailingFor { get; }

    /// <summary>Gets after how long the next attempt to connect may have ended well: before that a retry is in vain.</summary>
    public TimeSpan? RetryAfter { get; }
}
