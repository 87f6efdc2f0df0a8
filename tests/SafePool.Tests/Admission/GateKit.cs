using SafePool.Admission;
using Xunit;

namespace SafePool.Tests.Admission;

/// <summary>Gates and waiters in the states that tests begin with.</summary>
internal static class GateKit
{
    public static AdmissionGate WithIdle(int places)
    {
        var gate = WithHeld(places, out var held);
        Assert.All(held, place => Assert.True(gate.TryGiveBack(place)));
        return gate;
    }

    public static AdmissionGate WithHeld(int places, out int[] held, int maxWaiters = 100, int maxConcurrentOpens = 2)
    {
        var gate = new AdmissionGate(places, maxWaiters, maxConcurrentOpens);
        held = new int[places];
        for (var i = 0; i < places; i++)
        {
            Assert.True(gate.TryBeginFill(places, int.MaxValue, out held[i]));
            gate.OpenSucceeded(held[i], blocking: false);
        }

        return gate;
    }

    // Blocking waiters can be asked for their result at any time, which is all that these tests need.
    public static Waiter NewWaiter(AdmissionGate gate, bool blocking = true)
    {
        var waiter = new TestWaiter();
        waiter.Prepare(gate, blocking, long.MaxValue, who: null);
        return waiter;
    }

    public static Waiter Enter(AdmissionGate gate, bool blocking = true)
    {
        var waiter = NewWaiter(gate, blocking);
        Assert.Equal(AdmissionOutcome.Queued, gate.Enter(waiter, returning: false).Outcome);
        return waiter;
    }

    /// <summary>How the wait ended; null while it goes on.</summary>
    public static AdmissionResult? Result(Waiter waiter)
        => waiter.Block(TimeSpan.Zero) ? waiter.Admission : null;
}
