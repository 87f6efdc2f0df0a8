using Microsoft.Extensions.Logging;
using Npgsql;
using SafePool.Admission;
using SafePool.Driver;
using SafePool.Leases;
using SafePool.Logging;

namespace SafePool.Lifecycle;

/// <summary>Draws the conclusions from how opens end: for the breaker, for the room on the server, for those who wait; and says every change.</summary>
/// <param name="parts">The pool.</param>
internal sealed class Outage(PoolParts parts)
{
    /// <summary>Whether those who wait need not hear of it, because waiting may cure it.</summary>
    /// <param name="error">What an open has failed with.</param>
    /// <param name="isConnected">After it had connected.</param>
    public bool IsRiddenThrough(Exception error, bool isConnected)
        => isConnected && OpenFailures.IsOfHook(error) ? false
            : parts.Breaker.IsEnabled ? SqlStates.IsCuredByWaiting(error)
            : SqlStates.IsServerFull(error) || (OpenFailures.IsRefusedForNow(error) && parts.Gate.Read().Connections > 0);

    /// <summary>An open has failed.</summary>
    /// <param name="error">With this.</param>
    /// <param name="begunAt">When it began.</param>
    /// <param name="counts">What there is now, without it.</param>
    /// <param name="isConnected">After it had connected.</param>
    public void Failed(Exception error, long begunAt, GateCounts counts, bool isConnected)
    {
        if (isConnected && OpenFailures.IsOfHook(error))
        {
            // The server has let it in.
            Answered();
            return;
        }

        if (IsLimit(error, counts))
        {
            // Those that it has serve on, so this is no outage.
            Answered();
            if (parts.Room.Refused(error, counts, begunAt))
            {
                parts.Recorder.Record(FlightEventKind.ServerFull);
                _ = SayWhoFillsTheServerAsync(counts.Connections, OpenFailures.AnswerIn(error)!);
            }

            return;
        }

        switch (OpenFailures.KindOf(error))
        {
            case OpenFailureKind.RefusedForGood:
                // The server is there, and says no.
                Answered();
                break;
            case OpenFailureKind.FaultHere:
                // It proves nothing about the server. A probe that met it has not found the server either: the next one comes after a pause, as ever.
                if (parts.Breaker.IsOpen)
                {
                    parts.Breaker.Failed(begunAt, isRefusal: false);
                }

                break;
            default:
                if (counts.Connections == 0)
                {
                    // It begins anew when the server is back, perhaps another one.
                    parts.Room.Forget();
                }

                if (parts.Breaker.Failed(begunAt, isRefusal: !SqlStates.IsSilence(error)))
                {
                    Log.OpensFail(parts.Logger, parts.Settings.Name, parts.Breaker.RetryAfter.TotalSeconds, error);
                }

                break;
        }
    }

    /// <summary>An open, which still counts as one, has brought a new connection.</summary>
    public void Succeeded()
    {
        Answered();
        if (parts.Room.Granted(parts.Gate.Read().Connections + 1))
        {
            Log.ServerHasRoom(parts.Logger, parts.Settings.Name, parts.Settings.MaxSize);
        }
    }

    /// <summary>Somebody who knows says that all may be well again.</summary>
    public void Forget()
    {
        parts.Room.Forget();
        Answered();
    }

    /// <summary>Opens the circuit once opens have failed for long enough, and fails those who wait.</summary>
    public void TripIfDue()
    {
        if (!parts.Breaker.TryTrip())
        {
            return;
        }

        var waiting = parts.Gate.Read().Waiting;
        parts.Gate.FailWaiting(AdmissionOutcome.CircuitOpen);
        parts.Recorder.Record(FlightEventKind.CircuitOpened);
        Log.CircuitOpened(parts.Logger, parts.Settings.Name, parts.Breaker.FailingFor.TotalSeconds, waiting, parts.Opens.LastFailure);
    }

    /// <summary>Whether somebody has refused one more connection to a pool that can go on with those that it has.</summary>
    private bool IsLimit(Exception error, GateCounts counts)
        => counts.Connections > 0 ? OpenFailures.IsRefusedForNow(error) : !parts.Breaker.IsEnabled && SqlStates.IsServerFull(error);

    private void Answered()
    {
        var wasFailing = parts.Breaker.IsFailing;
        var wasOpen = parts.Breaker.Answered();
        if (wasOpen)
        {
            parts.Recorder.Record(FlightEventKind.CircuitClosed);
        }

        if (wasOpen || wasFailing)
        {
            Log.CircuitClosed(parts.Logger, parts.Settings.Name, parts.Breaker.FailingFor.TotalSeconds, wasOpen ? "is closed" : "had stayed closed");
        }
    }

    private async Task SayWhoFillsTheServerAsync(int limit, PostgresException answer)
    {
        var census = await parts.Source.TakeCensusAsync().ConfigureAwait(false);
        var who = census?.ToString() ?? "It could not be asked who uses the rest.";
        Log.ServerFull(parts.Logger, parts.Settings.Name, limit, parts.Settings.MaxSize, $"{answer.SqlState}: {answer.MessageText}", who);
    }
}
