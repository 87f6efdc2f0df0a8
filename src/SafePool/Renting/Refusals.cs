using System.Runtime.ExceptionServices;
using SafePool.Admission;
using SafePool.Diagnostics;
using SafePool.Leases;
using SafePool.Reports;

namespace SafePool.Renting;

/// <summary>Tells the callers that got no lease why.</summary>
internal sealed class Refusals(PoolParts parts, Diagnostician diagnostician, ExhaustionEpisode episode)
{
    /// <summary>Takes down that the pool has refused a rent. One that failed or was cancelled throws that instead.</summary>
    public void Refuse(PendingRent rent)
    {
        var admission = rent.Admission;
        switch (admission.Outcome)
        {
            case AdmissionOutcome.Failed:
                parts.Telemetry.Rented(rent.Begun, rent.HasWaited, admission.Error);

                // As it was thrown, with its own stack.
                ExceptionDispatchInfo.Throw(admission.Error!);
                break;
            case AdmissionOutcome.Cancelled:
                parts.Recorder.Record(FlightEventKind.Cancelled, site: rent.Site);
                var cancelled = new OperationCanceledException(rent.CancellationToken);
                parts.Telemetry.Rented(rent.Begun, rent.HasWaited, cancelled);
                throw cancelled;
        }

        Count(admission.Outcome, rent.Site);
        var waited = parts.Clock.Since(rent.Begun);
        var refusal = new Refusal(this, ReasonOf(admission), admission, rent.Who, rent.Hook, waited);
        parts.Telemetry.Refused(waited, rent.HasWaited, refusal);
        if (refusal.Reason is RefusalReason.Exhausted or RefusalReason.Rejected)
        {
            episode.Note(refusal);
        }

        rent.Refusal = refusal;
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

        Diagnosis Diagnose() => diagnostician.Diagnose(admission.Counts, pool.Holders, refusal, admission.Outcome == AdmissionOutcome.Deadlocked);
    }

    private static AcquirePhase PhaseOf(AdmissionResult admission)
        => admission.Phase == AcquirePhase.Probing ? AcquirePhase.Probing
            : admission.Counts.Opening > 0 ? AcquirePhase.Opening
            : AcquirePhase.Queued;

    private RefusalReason ReasonOf(AdmissionResult admission) => admission.Outcome switch
    {
        AdmissionOutcome.Closed => RefusalReason.Closed,
        _ when admission.Counts.IsPaused => RefusalReason.Paused,
        AdmissionOutcome.CircuitOpen => RefusalReason.CircuitOpen,
        AdmissionOutcome.Rejected => RefusalReason.Rejected,
        _ => IsExhausted(admission) ? RefusalReason.Exhausted : RefusalReason.ConnectTimeout,
    };

    /// <summary>With room left in the pool it was the server that was waited for, not a lease; unless the server has no room for another one.</summary>
    private bool IsExhausted(AdmissionResult admission)
        => admission.Phase != AcquirePhase.Probing
            && (admission.Counts is { Missing: 0 } || (admission.Counts.Leased > 0 && parts.Room.IsFull));

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
