using SafePool.Time;

namespace SafePool.Admission;

/// <summary>Where requests wait: gives each an end to its budget and an ear for its token.</summary>
/// <remarks>
/// <para>
/// Waiters are re-used, each with its timer, so that waiting allocates nothing in the long run. A timer runs only while the end of a budget is near, as few waits ever come to: <see cref="ArmNear"/> looks for those at every tick of the
/// coarse clock.
/// </para>
/// <para>
/// Two late arrivals are possible and harmless. A timer's callback may come for an earlier stay: the gate looks at the deadline of the present one, and if that is still ahead the timer is only armed again. A token's callback cannot come late,
/// because disposing its registration waits for it.
/// </para>
/// </remarks>
internal sealed class WaitingRoom(AdmissionGate gate, PoolClock clock)
{
    // Those that end before the tick after the next: the next one may be late by as much.
    private static readonly TimeSpan _near = 2 * MaintenanceLoop.Period;

    // For one whose budget ended while the process stood still: so did whoever would have served it. Enough to connect anew.
    private static readonly TimeSpan _onceMore = TimeSpan.FromSeconds(3);

    /// <summary>Asks for a place. True when it is known now how that ended; otherwise <paramref name="waiter"/> stands in the queue and will go on by itself.</summary>
    /// <param name="waiter">Prepared.</param>
    /// <param name="returning">See <see cref="AdmissionGate.Enter"/>.</param>
    /// <param name="onQueued">Runs once the request stands in the queue, and before it can go on.</param>
    /// <param name="cancellationToken">Takes it out of the queue.</param>
    public bool Enter(Waiter waiter, bool returning, Action<Waiter> onQueued, CancellationToken cancellationToken)
    {
        waiter.Arrive();
        var admission = gate.Enter(waiter, returning);
        if (admission.Outcome != AdmissionOutcome.Queued)
        {
            waiter.Admission = admission;
            return true;
        }

        try
        {
            onQueued(waiter);
            waiter.Cancellation = cancellationToken.UnsafeRegister(OnCancelled, waiter);
            if (waiter.Deadline <= Near())
            {
                Arm(waiter);
            }
        }
        catch
        {
            // In the queue it would be given a place that nobody takes, and it is about to be re-used.
            if (gate.TryLeave(waiter, AdmissionOutcome.Cancelled))
            {
                Leave(waiter);
            }

            throw;
        }

        if (!waiter.LetGo())
        {
            return false;
        }

        Leave(waiter);
        return true;
    }

    /// <summary>What a waiter does first that goes on by itself.</summary>
    public static void Leave(Waiter waiter)
    {
        waiter.Cancellation.Dispose();
        waiter.Cancellation = default;
        if (waiter.IsArmed)
        {
            waiter.IsArmed = false;
            waiter.Timer!.Change(Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        }
    }

    /// <summary>Asks for a place, and blocks until it is known how that ended.</summary>
    public void Wait(Waiter waiter, bool returning, Action<Waiter> onQueued)
    {
        waiter.Arrive();
        var admission = gate.Enter(waiter, returning);
        if (admission.Outcome != AdmissionOutcome.Queued)
        {
            waiter.Admission = admission;
            return;
        }

        try
        {
            onQueued(waiter);
            Arm(waiter);

            // The timer is enough unless the thread pool is starved: then nobody else would end this wait in time.
            while (!waiter.Block(Remaining(waiter.Deadline)))
            {
                TryTimeOut(waiter);
            }
        }
        catch (Exception error)
        {
            if (gate.TryLeave(waiter, AdmissionOutcome.Cancelled))
            {
                Leave(waiter);
                throw;
            }

            if (error is not ThreadInterruptedException)
            {
                throw;
            }

            // Too late: it has a place that must not be lost, or knows why not. Whoever blocks next on this thread is interrupted instead.
            Thread.CurrentThread.Interrupt();
        }

        Leave(waiter);
    }

    /// <summary>Lets the timers run of those whose budget ends soon.</summary>
    public void ArmNear()
    {
        foreach (var waiter in gate.WaitingUntil(Near()))
        {
            if (!waiter.IsArmed)
            {
                Arm(waiter);
            }
        }
    }

    private static void OnCancelled(object? state)
    {
        var waiter = (Waiter)state!;
        waiter.Gate.TryLeave(waiter, AdmissionOutcome.Cancelled);
    }

    private long Near() => clock.After(clock.Coarse, _near);

    private void Arm(Waiter waiter)
    {
        if (waiter.Deadline == long.MaxValue)
        {
            return;
        }

        // Who enters and the maintenance loop may both want to.
        lock (waiter)
        {
            if (waiter.Timer is null)
            {
                // Without suppression the timer would keep the first caller's AsyncLocals alive for as long as the waiter is re-used.
                using (ExecutionContext.SuppressFlow())
                {
                    waiter.Timer = clock.Provider.CreateTimer(OnTimer, waiter, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
                }
            }

            waiter.IsArmed = true;
            waiter.Timer.Change(Remaining(waiter.Deadline), Timeout.InfiniteTimeSpan);
        }
    }

    private void OnTimer(object? state)
    {
        var waiter = (Waiter)state!;
        if (!TryTimeOut(waiter) && waiter.IsQueued)
        {
            // Early by a fraction of a tick, or meant for an earlier stay.
            Arm(waiter);
        }
    }

    private bool TryTimeOut(Waiter waiter)
    {
        var (now, deadline) = (clock.Exact, waiter.Deadline);
        var isUnfair = deadline <= now && clock.FrozenSince(deadline) > TimeSpan.Zero;
        return !(isUnfair && gate.TryProlong(waiter, deadline, clock.After(now, _onceMore))) && gate.TryTimeOut(waiter, now);
    }

    private TimeSpan Remaining(long deadline)
    {
        if (deadline == long.MaxValue)
        {
            return Timeout.InfiniteTimeSpan;
        }

        // Rounded up to a millisecond, the finest that timers know, so that they do not fire too early again and again.
        return TimeSpan.FromMilliseconds(Math.Ceiling(Math.Max(0, clock.Until(deadline).TotalMilliseconds)));
    }
}
