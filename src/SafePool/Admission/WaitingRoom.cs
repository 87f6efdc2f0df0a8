using System.Runtime.CompilerServices;
using Microsoft.Extensions.ObjectPool;

namespace SafePool.Admission;

/// <summary>Where requests wait: gives each a <see cref="Waiter"/>, a deadline and an ear for its token, and takes them back afterwards.</summary>
/// <remarks>
/// Waiters are re-used, each with its timer, so that waiting allocates nothing in the long run. Two late arrivals are possible and
/// harmless. A timer's callback may come for an earlier stay: it looks at the deadline of the present one, and if that is still ahead only
/// arms itself again. A token's callback cannot come late, because disposing its registration waits for it.
/// </remarks>
internal sealed class WaitingRoom(AdmissionGate gate, TimeProvider clock)
{
    public const int RetainedWaiters = 1024;

    private readonly ObjectPool<Waiter> _waiters =
        new DefaultObjectPool<Waiter>(new DefaultPooledObjectPolicy<Waiter>(), RetainedWaiters);

    /// <summary>Waits for a place until <paramref name="deadline"/>; <paramref name="onQueued"/> runs once the request stands in the queue.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<AdmissionResult> WaitAsync(
        long deadline, bool returning, object? who, Action<Waiter> onQueued, CancellationToken cancellationToken)
    {
        var waiter = _waiters.Get();
        waiter.Prepare(gate, blocking: false, deadline, who);
        var admission = gate.Enter(waiter, returning);
        if (admission.Outcome == AdmissionOutcome.Queued)
        {
            onQueued(waiter);
            Arm(waiter);
            var registration = cancellationToken.UnsafeRegister(OnCancelled, waiter);
            admission = (await waiter.Task.ConfigureAwait(false)) with { HasWaited = true };
            await registration.DisposeAsync().ConfigureAwait(false);
            Disarm(waiter);
        }

        waiter.Forget();
        _waiters.Return(waiter);
        return admission;
    }

    /// <summary>The same for a caller who blocks.</summary>
    public AdmissionResult Wait(long deadline, bool returning, object? who, Action<Waiter> onQueued)
    {
        var waiter = _waiters.Get();
        waiter.Prepare(gate, blocking: true, deadline, who);
        var admission = gate.Enter(waiter, returning);
        if (admission.Outcome == AdmissionOutcome.Queued)
        {
            onQueued(waiter);
            Arm(waiter);

            // The timer is enough unless the thread pool is starved: then nobody else would end this wait in time.
            while (!waiter.Block(Remaining(deadline), out admission))
            {
                if (clock.GetTimestamp() >= deadline)
                {
                    gate.TryLeave(waiter, AdmissionOutcome.TimedOut);
                }
            }

            Disarm(waiter);
            admission = admission with { HasWaited = true };
        }

        waiter.Forget();
        _waiters.Return(waiter);
        return admission;
    }

    private void Arm(Waiter waiter)
    {
        if (waiter.Deadline == long.MaxValue)
        {
            return;
        }

        if (waiter.Timer is null)
        {
            // Without suppression the timer would keep the first caller's AsyncLocals alive for as long as the waiter is re-used.
            using (ExecutionContext.SuppressFlow())
            {
                waiter.Timer = clock.CreateTimer(OnTimer, waiter, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
            }
        }

        waiter.Timer.Change(Remaining(waiter.Deadline), Timeout.InfiniteTimeSpan);
    }

    private static void OnCancelled(object? state)
    {
        var waiter = (Waiter)state!;
        waiter.Gate.TryLeave(waiter, AdmissionOutcome.Cancelled);
    }

    private static void Disarm(Waiter waiter) => waiter.Timer?.Change(Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);

    private void OnTimer(object? state)
    {
        var waiter = (Waiter)state!;
        if (clock.GetTimestamp() >= waiter.Deadline)
        {
            gate.TryLeave(waiter, AdmissionOutcome.TimedOut);
        }
        else if (waiter.IsQueued)
        {
            // Early by a fraction of a tick, or meant for an earlier stay.
            Arm(waiter);
        }
    }

    private TimeSpan Remaining(long deadline)
    {
        if (deadline == long.MaxValue)
        {
            return Timeout.InfiniteTimeSpan;
        }

        // Rounded up to a millisecond, the finest that timers know, so that they do not fire too early again and again.
        var remaining = clock.GetElapsedTime(clock.GetTimestamp(), deadline);
        return TimeSpan.FromMilliseconds(Math.Ceiling(Math.Max(0, remaining.TotalMilliseconds)));
    }
}
