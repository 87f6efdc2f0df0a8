using System.Runtime.ExceptionServices;
using SafePool.Admission;
using SafePool.Diagnostics;

namespace SafePool.Leases;

/// <summary>Tells the callers that got no lease why.</summary>
internal sealed class Refusals(PoolParts parts, Diagnostician diagnostician, ExhaustionEpisode episode)
{
    /// <summary>Whether a request that ended like this can be told so without an exception: it was the pool that said no.</summary>
    public static bool IsRefusal(AdmissionOutcome outcome) => outcome is not (AdmissionOutcome.Cancelled or AdmissionOutcome.Failed);

    /// <summary>The exception for a request that ended like this; throws it itself where it was thrown before.</summary>
    public Exception Of(AdmissionResult admission, in RentRequest request, long begun)
    {
        if (IsRefusal(admission.Outcome))
        {
            return Refuse(admission, request, begun).ToException();
        }

        if (admission.Error is { } error)
        {
            parts.Telemetry.Rented(begun, admission.HasWaited, error);

            // As it was thrown, with its own stack.
            ExceptionDispatchInfo.Throw(error);
        }

        parts.Recorder.Record(FlightEventKind.Cancelled, site: request.Site);
        var cancelled = new OperationCanceledException(request.CancellationToken);
        parts.Telemetry.Rented(begun, admission.HasWaited, cancelled);
        return cancelled;
    }

    /// <summary>Takes down that a request was refused.</summary>
    public Refusal Refuse(AdmissionResult admission, in RentRequest request, long begun)
    {
        Count(admission.Outcome, request.Site);
        var waited = parts.Clock.Since(begun);
        var refusal = new Refusal(this, ReasonOf(admission), admission, request.Who, waited);
        parts.Telemetry.Refused(waited, admission.HasWaited, refusal);
        if (refusal.Reason is RefusalReason.Exhausted or RefusalReason.Rejected)
        {
            episode.Note(refusal);
        }

        return refusal;
    }

    public PoolClosedException Closed() => new(Snapshots.Of(parts));

    /// <summary>The exception that says it, with the counts of then.</summary>
    public PoolException Explain(Refusal refusal)
    {
        if (refusal.Reason == RefusalReason.Closed)
        {
            return Closed();
        }

        var admission = refusal.Admission;
        var pool = Snapshots.Of(parts, admission.Counts);
        return refusal.Reason switch
        {
            RefusalReason.Paused => new PoolPausedException(pool, admission.Outcome == AdmissionOutcome.TimedOut ? refusal.Waited : TimeSpan.Zero),
            RefusalReason.CircuitOpen => new CircuitOpenException(pool, parts.Breaker.FailingFor, parts.Breaker.RetryAfter, parts.Opens.LastFailure),
            RefusalReason.Rejected => new PoolRejectedException(pool, parts.Settings.MaxWaiters, Diagnose()),
            RefusalReason.Exhausted => new PoolExhaustedException(pool, refusal.Waited, Diagnose(), parts.Room.RetryAfter),
            _ => new ConnectTimeoutException(pool, PhaseOf(admission), refusal.Waited, Diagnose()),
        };

        Diagnosis Diagnose() => diagnostician.Diagnose(admission.Counts, pool.Holders, refusal.Who, admission.Outcome == AdmissionOutcome.Deadlocked);
    }

    private static AcquirePhase PhaseOf(AdmissionResult admission)
        => admission.Phase == AcquirePhase.Probing ? AcquirePhase.Probing
            : admission.Counts.Opening > 0 ? AcquirePhase.Opening
            : AcquirePhase.Queued;

    private RefusalReason ReasonOf(AdmissionResult admission) => admission.Outcome switch
    {
        AdmissionOutcome.Closed => RefusalReason.Closed,
        AdmissionOutcome.CircuitOpen => RefusalReason.CircuitOpen,
        AdmissionOutcome.TimedOut or AdmissionOutcome.Rejected when admission.Counts.IsPaused => RefusalReason.Paused,
        AdmissionOutcome.Rejected => RefusalReason.Rejected,
        _ => IsExhausted(admission) ? RefusalReason.Exhausted : RefusalReason.ConnectTimeout,
    };

    /// <summary>With room left in the pool it was the server that was waited for, not a lease; unless the server has no room for another one.</summary>
    private bool IsExhausted(AdmissionResult admission)
        => admission.Phase != AcquirePhase.Probing
            && (admission.Counts.Leased + admission.Counts.Quarantined >= admission.Counts.Size || (admission.Counts.Leased > 0 && parts.Room.IsFull));

    private void Count(AdmissionOutcome outcome, in RentSite site)
    {
        switch (outcome)
        {
            case AdmissionOutcome.Closed:
                break;
            case AdmissionOutcome.CircuitOpen:
                parts.Totals.CountRejected();
                break;
            case AdmissionOutcome.Rejected or AdmissionOutcome.Stuck:
                parts.Totals.CountRejected();
                parts.Recorder.Record(FlightEventKind.Rejected, site: site);
                break;
            default:
                parts.Totals.CountTimeout();
                parts.Recorder.Record(FlightEventKind.TimedOut, site: site);
                break;
        }
    }
}
