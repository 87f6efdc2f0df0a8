using System.Runtime.ExceptionServices;
using SafePool.Admission;
using SafePool.Diagnostics;

namespace SafePool.Leases;

/// <summary>Tells the callers that got no lease why, each in an exception of its own.</summary>
internal sealed class Refusals(PoolParts parts, Diagnostician diagnostician, ExhaustionEpisode episode)
{
    /// <summary>The exception for a request that ended like this; throws it itself where it was thrown before.</summary>
    public Exception Of(AdmissionResult admission, in RentRequest request, long begun)
    {
        var error = Explain(admission, request, begun);
        parts.Telemetry.Rented(parts.Clock.Since(begun), admission.HasWaited, error);
        if (admission.Outcome == AdmissionOutcome.Failed)
        {
            // As it was thrown, with its own stack.
            ExceptionDispatchInfo.Throw(error);
        }

        return error;
    }

    public PoolClosedException Closed() => new(Snapshots.Of(parts));

    private Exception Explain(AdmissionResult admission, in RentRequest request, long begun)
    {
        if (admission is { Counts.IsPaused: true, Outcome: AdmissionOutcome.TimedOut or AdmissionOutcome.Rejected })
        {
            return Paused(admission, request, begun);
        }

        switch (admission.Outcome)
        {
            case AdmissionOutcome.Cancelled:
                parts.Recorder.Record(FlightEventKind.Cancelled, site: request.Site);
                return new OperationCanceledException(request.CancellationToken);
            case AdmissionOutcome.Failed:
                return admission.Error!;
            case AdmissionOutcome.Closed:
                return Closed();
            case AdmissionOutcome.Rejected:
                parts.Totals.CountRejected();
                parts.Recorder.Record(FlightEventKind.Rejected, site: request.Site);
                return Told(Rejection(admission.Counts, request));
            case AdmissionOutcome.CircuitOpen:
                parts.Totals.CountRejected();
                return new CircuitOpenException(Snapshots.Of(parts, admission.Counts), parts.Breaker.FailingFor, parts.Breaker.RetryAfter, parts.Opens.LastFailure);
            case AdmissionOutcome.Stuck:
                parts.Totals.CountRejected();
                parts.Recorder.Record(FlightEventKind.Rejected, site: request.Site);
                return OutOfTime(admission, request, parts.Clock.Since(begun));
            default:
                parts.Totals.CountTimeout();
                parts.Recorder.Record(FlightEventKind.TimedOut, site: request.Site);
                return OutOfTime(admission, request, parts.Clock.Since(begun));
        }
    }

    private PoolPausedException Paused(AdmissionResult admission, in RentRequest request, long begun)
    {
        var isTimeout = admission.Outcome == AdmissionOutcome.TimedOut;
        if (isTimeout)
        {
            parts.Totals.CountTimeout();
        }
        else
        {
            parts.Totals.CountRejected();
        }

        parts.Recorder.Record(isTimeout ? FlightEventKind.TimedOut : FlightEventKind.Rejected, site: request.Site);
        return new PoolPausedException(Snapshots.Of(parts, admission.Counts), isTimeout ? parts.Clock.Since(begun) : TimeSpan.Zero);
    }

    /// <summary>With room left in the pool it was the server that was waited for, not a lease; unless the server has no room for another one.</summary>
    private PoolException OutOfTime(AdmissionResult admission, in RentRequest request, TimeSpan waited)
    {
        var pool = Snapshots.Of(parts, admission.Counts);
        var diagnosis = diagnostician.Diagnose(
            admission.Counts, pool.Holders, request.Who, admission.Outcome == AdmissionOutcome.Deadlocked);
        var isFull = pool.Leased + pool.Quarantined >= pool.MaxSize || (pool.Leased > 0 && parts.Room.IsFull);
        if (admission.Phase == AcquirePhase.Probing)
        {
            return new ConnectTimeoutException(pool, AcquirePhase.Probing, waited, diagnosis);
        }

        return isFull
            ? Told(new PoolExhaustedException(pool, waited, diagnosis, parts.Room.RetryAfter))
            : new ConnectTimeoutException(pool, pool.Opening > 0 ? AcquirePhase.Opening : AcquirePhase.Queued, waited, diagnosis);
    }

    private PoolRejectedException Rejection(GateCounts counts, in RentRequest request)
    {
        var pool = Snapshots.Of(parts, counts);
        return new PoolRejectedException(
            pool, parts.Settings.MaxWaiters, diagnostician.Diagnose(counts, pool.Holders, request.Who, isDeadlock: false));
    }

    private T Told<T>(T exhaustion)
        where T : PoolException
    {
        episode.Note(exhaustion);
        return exhaustion;
    }
}
