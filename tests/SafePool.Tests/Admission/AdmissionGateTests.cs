using SafePool.Admission;
using SafePool.Driver;
using Xunit;

namespace SafePool.Tests.Admission;

public sealed class AdmissionGateTests
{
    [Fact]
    public void New_AnySize_IsVacant()
    {
        var gate = new AdmissionGate(3, 10, 2);

        Assert.Equal(new GateCounts(Idle: 0, Leased: 0, Opening: 0, Quarantined: 0, Waiting: 0) { Size = 3, Limit = 3 }, gate.Read());
        Assert.False(gate.TryTake(out _));
    }

    [Fact]
    public void TryTake_Idle_GivesThePlaceAndTakesItBack()
    {
        var gate = GateKit.WithIdle(2);

        Assert.True(gate.TryTake(out var place));
        Assert.Equal(1, gate.Read().Leased);
        Assert.True(gate.TryGiveBack(place));

        Assert.Equal(2, gate.Idle);
        Assert.Equal(0, gate.Read().Leased);
    }

    [Fact]
    public void Enter_SomethingIsIdle_GrantsItAtOnce()
    {
        var gate = GateKit.WithIdle(1);

        var admission = gate.Enter(GateKit.NewWaiter(gate), returning: false);

        Assert.Equal(AdmissionOutcome.Granted, admission.Outcome);
        Assert.Equal(0, gate.Read().Waiting);
    }

    [Fact]
    [Trait("Conformance", "21")]
    public void TryGiveBack_SomebodyWaits_RefusesSoThatANewcomerCannotTakeIt()
    {
        var gate = GateKit.WithHeld(1, out var held);
        var waiter = GateKit.Enter(gate);

        Assert.False(gate.TryGiveBack(held[0]));
        Assert.False(gate.TryTake(out _));
        Assert.Equal(0, gate.Idle);
        Assert.True(gate.TryHandOver(held[0], out _));

        Assert.Equal(new AdmissionResult(AdmissionOutcome.Granted, held[0]), GateKit.Result(waiter));
        Assert.Equal(1, gate.Read().Leased);
    }

    [Fact]
    [Trait("Conformance", "20")]
    public void TryHandOver_SeveralWait_ServesThemInOrderOfArrival()
    {
        var gate = GateKit.WithHeld(3, out var held);
        Waiter[] waiters = [GateKit.Enter(gate), GateKit.Enter(gate), GateKit.Enter(gate)];

        foreach (var place in held)
        {
            gate.TryHandOver(place, out _);
        }

        Assert.Equal(held, waiters.Select(waiter => GateKit.Result(waiter)!.Value.Place));
        Assert.False(gate.TryHandOver(held[0], out _));
    }

    [Fact]
    public void TryLeave_FromTheMiddle_KeepsTheOrderOfTheOthers()
    {
        var gate = GateKit.WithHeld(2, out var held);
        Waiter[] waiters = [GateKit.Enter(gate), GateKit.Enter(gate), GateKit.Enter(gate)];

        Assert.True(gate.TryLeave(waiters[1], AdmissionOutcome.Cancelled));
        gate.TryHandOver(held[0], out _);
        gate.TryHandOver(held[1], out _);

        Assert.Equal(held[0], GateKit.Result(waiters[0])!.Value.Place);
        Assert.Equal(AdmissionOutcome.Cancelled, GateKit.Result(waiters[1])!.Value.Outcome);
        Assert.Equal(held[1], GateKit.Result(waiters[2])!.Value.Place);
    }

    [Fact]
    [Trait("Conformance", "22")]
    public void TryLeave_AfterTheHandOver_IsTooLate()
    {
        var gate = GateKit.WithHeld(1, out var held);
        var waiter = GateKit.Enter(gate);
        gate.TryHandOver(held[0], out _);

        Assert.False(gate.TryLeave(waiter, AdmissionOutcome.TimedOut));
        Assert.Equal(AdmissionOutcome.Granted, GateKit.Result(waiter)!.Value.Outcome);
    }

    [Fact]
    [Trait("Conformance", "22")]
    public void TryHandOver_TheWaiterHasTimedOut_GivesItToTheNextOne()
    {
        var gate = GateKit.WithHeld(1, out var held);
        var (late, next) = (GateKit.Enter(gate), GateKit.Enter(gate));
        gate.TryLeave(late, AdmissionOutcome.TimedOut);

        Assert.True(gate.TryHandOver(held[0], out _));

        Assert.Equal(AdmissionOutcome.TimedOut, GateKit.Result(late)!.Value.Outcome);
        Assert.Equal(AdmissionOutcome.Granted, GateKit.Result(next)!.Value.Outcome);
    }

    [Fact]
    public void TryLeave_TheLastWaiter_LetsConnectionsComeToRestAgain()
    {
        var gate = GateKit.WithHeld(1, out var held);
        gate.TryLeave(GateKit.Enter(gate), AdmissionOutcome.TimedOut);

        Assert.True(gate.TryGiveBack(held[0]));
        Assert.Equal(1, gate.Idle);
    }

    [Fact]
    [Trait("Conformance", "18")]
    public void Enter_Returning_StandsInFrontOfThoseWhoWait()
    {
        var gate = GateKit.WithHeld(1, out var held);
        var (waiting, returning) = (GateKit.Enter(gate), GateKit.NewWaiter(gate));
        gate.Enter(returning, returning: true);

        gate.TryHandOver(held[0], out _);

        Assert.NotNull(GateKit.Result(returning));
        Assert.Null(GateKit.Result(waiting));
    }

    [Fact]
    [Trait("Conformance", "27")]
    public void Enter_QueueFull_RejectsNewcomersButNotThoseWhoReturn()
    {
        var gate = GateKit.WithHeld(1, out _, maxWaiters: 1);
        GateKit.Enter(gate);

        Assert.Equal(AdmissionOutcome.Rejected, gate.Enter(GateKit.NewWaiter(gate), returning: false).Outcome);
        Assert.Equal(AdmissionOutcome.Queued, gate.Enter(GateKit.NewWaiter(gate), returning: true).Outcome);
    }

    [Fact]
    [Trait("Conformance", "27")]
    public void Enter_MaxWaitersZeroButRoomToOpen_WaitsForTheServerAndIsNotRejected()
    {
        var gate = new AdmissionGate(2, maxWaiters: 0, maxConcurrentOpens: 1);
        GateKit.Enter(gate);
        gate.TryBeginOpen(int.MaxValue, out _, out _);
        GateKit.Enter(gate);

        Assert.Equal(AdmissionOutcome.Rejected, gate.Enter(GateKit.NewWaiter(gate), returning: false).Outcome);
        Assert.Equal(new GateCounts(Idle: 0, Leased: 0, Opening: 1, Quarantined: 0, Waiting: 2) { Size = 2, Limit = 2 }, gate.Read());
    }
}
