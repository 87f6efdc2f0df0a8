using SafePool.Admission;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Admission;

public sealed class WaitingRoomTests
{
    private static readonly long Second = TimeSpan.TicksPerSecond;

    private readonly ManualTimeProvider _clock = new();
    private readonly AdmissionGate _gate;
    private readonly WaitingRoom _room;
    private readonly int _place;

    public WaitingRoomTests()
    {
        _gate = GateKit.WithHeld(1, out var held);
        _place = held[0];
        _room = new WaitingRoom(_gate, _clock);
    }

    [Fact]
    public async Task WaitAsync_AtTheDeadline_TimesOutAndNotBefore()
    {
        var waiting = Wait(deadline: 5 * Second);

        _clock.Advance(TimeSpan.FromTicks((5 * Second) - 1));
        Assert.Equal(1, _gate.Read().Waiting);
        _clock.Advance(TimeSpan.FromTicks(1));

        Assert.Equal(AdmissionOutcome.TimedOut, (await waiting).Outcome);
        Assert.Equal(0, _gate.Read().Waiting);
    }

    [Fact]
    public async Task WaitAsync_HandedOver_LeavesNoTimerArmed()
    {
        var waiting = Wait(deadline: 5 * Second);
        Assert.Equal(1, _clock.ActiveTimers);

        _gate.TryHandOver(_place);

        Assert.Equal(new AdmissionResult(AdmissionOutcome.Granted, _place) { HasWaited = true }, await waiting);
        Assert.Equal(0, _clock.ActiveTimers);
    }

    [Fact]
    public async Task WaitAsync_WithoutDeadline_ArmsNoTimerAndWaitsForEver()
    {
        var waiting = Wait(deadline: long.MaxValue);

        _clock.Advance(TimeSpan.FromDays(365));
        Assert.Equal(0, _clock.ActiveTimers);
        Assert.Equal(1, _gate.Read().Waiting);
        _gate.TryHandOver(_place);

        Assert.Equal(AdmissionOutcome.Granted, (await waiting).Outcome);
    }

    [Fact]
    [Trait("Conformance", "23")]
    public async Task WaitAsync_Cancelled_LeavesTheQueueAndTakesNothingWithIt()
    {
        using var cancellation = new CancellationTokenSource();
        var waiting = WaitCancellable(5 * Second, cancellation.Token);

        await cancellation.CancelAsync();

        Assert.Equal(AdmissionOutcome.Cancelled, (await waiting).Outcome);
        Assert.True(_gate.TryGiveBack(_place));
        Assert.Equal(0, _clock.ActiveTimers);
    }

    [Fact]
    public async Task WaitAsync_WaiterIsReused_TheEarlierDeadlineDoesNotEndTheLaterWait()
    {
        for (var stay = 1; stay <= 3; stay++)
        {
            var waiting = Wait(deadline: _clock.GetTimestamp() + (5 * Second));
            _clock.Advance(TimeSpan.FromSeconds(3));
            _gate.TryHandOver(_place);
            Assert.Equal(AdmissionOutcome.Granted, (await waiting).Outcome);
        }

        var last = Wait(deadline: _clock.GetTimestamp() + (5 * Second));
        _clock.Advance(TimeSpan.FromSeconds(4.999));
        Assert.Equal(1, _gate.Read().Waiting);
        _clock.Advance(TimeSpan.FromSeconds(0.001));

        Assert.Equal(AdmissionOutcome.TimedOut, (await last).Outcome);
    }

    [Fact]
    public async Task WaitAsync_SecondStayIsShorterThanTheFirst_EndsAtItsOwnDeadline()
    {
        var first = Wait(deadline: 10 * Second);
        _gate.TryHandOver(_place);
        await first;

        var second = Wait(deadline: 1 * Second);
        _clock.Advance(TimeSpan.FromSeconds(1));

        Assert.Equal(AdmissionOutcome.TimedOut, (await second).Outcome);
    }

    [Fact]
    public async Task WaitAsync_Queued_SaysSoOnceAndOnlyThen()
    {
        var queued = 0;
        var granted = await new WaitingRoom(GateKit.WithIdle(1), _clock)
            .WaitAsync(long.MaxValue, returning: false, who: null, _ => queued++, TestContext.Current.CancellationToken);
        Assert.Equal(AdmissionOutcome.Granted, granted.Outcome);
        Assert.Equal(0, queued);

        var waiting = _room.WaitAsync(long.MaxValue, returning: false, who: null, _ => queued++, TestContext.Current.CancellationToken).AsTask();
        _gate.Close();

        Assert.Equal(AdmissionOutcome.Closed, (await waiting).Outcome);
        Assert.Equal(1, queued);
    }

    [Fact]
    [Trait("Conformance", "29")]
    public async Task Wait_BlockedOnAnotherThread_EndsWithTheHandOver()
    {
        var waiting = Task.Factory.StartNew(
            () => _room.Wait(long.MaxValue, returning: false, who: null, _ => { }),
            TestContext.Current.CancellationToken,
            TaskCreationOptions.LongRunning,
            TaskScheduler.Default);
        await Eventually.True(() => _gate.Read().Waiting == 1, "the caller stands in the queue");

        _gate.TryHandOver(_place);

        Assert.Equal(_place, (await waiting).Place);
    }

    private Task<AdmissionResult> Wait(long deadline) => WaitCancellable(deadline, CancellationToken.None);

    private Task<AdmissionResult> WaitCancellable(long deadline, CancellationToken cancellationToken)
        => _room.WaitAsync(deadline, returning: false, who: null, _ => { }, cancellationToken).AsTask();
}
