using SafePool.Admission;
using SafePool.TestKit;
using SafePool.Time;
using Xunit;

namespace SafePool.Tests.Admission;

public sealed class WaitingRoomTests
{
    private static readonly long Second = TimeSpan.TicksPerSecond;

    private readonly ManualTimeProvider _time = new();
    private readonly PoolClock _clock;
    private readonly AdmissionGate _gate;
    private readonly WaitingRoom _room;
    private readonly TestWaiter _waiter = new();
    private readonly int _place;

    public WaitingRoomTests()
    {
        _gate = GateKit.WithHeld(1, out var held);
        _place = held[0];
        _clock = new PoolClock(_time);
        _room = new WaitingRoom(_gate, _clock);
    }

    [Theory]
    [InlineData(0.001)]
    [InlineData(0.4)]
    [InlineData(0.75)]
    [InlineData(5)]
    public async Task Enter_AtTheDeadline_TimesOutAndNotBefore(double seconds)
    {
        var deadline = (long)(seconds * Second);
        var waiting = Wait(deadline);

        Pass(TimeSpan.FromTicks(deadline - 1));
        Assert.Equal(1, _gate.Read().Waiting);
        Pass(TimeSpan.FromTicks(1));

        Assert.Equal(AdmissionOutcome.TimedOut, (await waiting).Outcome);
        Assert.Equal(0, _gate.Read().Waiting);
    }

    /// <summary>Nearly all waits are over long before; a timer for each would cost more than the rest of a wait.</summary>
    [Fact]
    public async Task Enter_TheDeadlineIsFarAway_ArmsNoTimerUntilItIsNear()
    {
        var waiting = Wait(deadline: 5 * Second);
        Assert.Equal(0, _time.ActiveTimers);
        Pass(TimeSpan.FromSeconds(4.25));
        Assert.Equal(0, _time.ActiveTimers);

        Pass(TimeSpan.FromSeconds(0.25));
        Assert.Equal(1, _time.ActiveTimers);
        _gate.TryHandOver(_place, out _);

        Assert.Equal(new AdmissionResult(AdmissionOutcome.Granted, _place), await waiting);
        Assert.Equal(0, _time.ActiveTimers);
    }

    [Fact]
    public async Task Enter_TheDeadlineIsNear_ArmsTheTimerAtOnce()
    {
        var waiting = Wait(deadline: Second / 2);
        Assert.Equal(1, _time.ActiveTimers);

        _gate.TryHandOver(_place, out _);

        Assert.Equal(AdmissionOutcome.Granted, (await waiting).Outcome);
        Assert.Equal(0, _time.ActiveTimers);
    }

    /// <summary>The maintenance loop may be late, as in a starved process.</summary>
    [Fact]
    public async Task ArmNear_TheDeadlineIsPast_TimesOutAtOnce()
    {
        var waiting = Wait(deadline: Second);

        _time.Advance(TimeSpan.FromSeconds(7));
        Assert.False(waiting.IsCompleted);
        Tick();
        _time.Advance(TimeSpan.Zero);

        Assert.Equal(AdmissionOutcome.TimedOut, (await waiting).Outcome);
    }

    [Fact]
    public async Task Enter_WithoutDeadline_ArmsNoTimerAndWaitsForEver()
    {
        var waiting = Wait(deadline: long.MaxValue);

        Pass(TimeSpan.FromDays(1));
        Assert.Equal(0, _time.ActiveTimers);
        Assert.Equal(1, _gate.Read().Waiting);
        _gate.TryHandOver(_place, out _);

        Assert.Equal(AdmissionOutcome.Granted, (await waiting).Outcome);
    }

    [Fact]
    [Trait("Conformance", "23")]
    public async Task Enter_Cancelled_LeavesTheQueueAndTakesNothingWithIt()
    {
        using var cancellation = new CancellationTokenSource();
        var waiting = WaitCancellable(Second / 2, cancellation.Token);

        await cancellation.CancelAsync();

        Assert.Equal(AdmissionOutcome.Cancelled, (await waiting).Outcome);
        Assert.True(_gate.TryGiveBack(_place));
        Assert.Equal(0, _time.ActiveTimers);
    }

    [Fact]
    public void Enter_CancelledAlready_IsOverWhenItReturns()
    {
        _waiter.Prepare(_gate, blocking: false, 5 * Second, who: null);

        Assert.True(_room.Enter(_waiter, returning: false, _ => { }, new CancellationToken(canceled: true)));

        Assert.Equal(AdmissionOutcome.Cancelled, _waiter.Admission.Outcome);
        Assert.False(_waiter.GoneOn.IsCompleted);
    }

    /// <summary>It must not go on elsewhere while the one who queued it is still busy with it: both would use it.</summary>
    [Fact]
    public void Enter_HandedOverBeforeItReturns_IsOverThereAndGoesOnNowhereElse()
    {
        _waiter.Prepare(_gate, blocking: false, 5 * Second, who: null);

        Assert.True(_room.Enter(_waiter, returning: false, _ => _gate.TryHandOver(_place, out var _), TestContext.Current.CancellationToken));

        Assert.Equal(new AdmissionResult(AdmissionOutcome.Granted, _place), _waiter.Admission);
        Assert.True(_waiter.HasWaited);
        Assert.False(_waiter.GoneOn.IsCompleted);
    }

    [Fact]
    public async Task Enter_WaiterIsReused_TheEarlierDeadlineDoesNotEndTheLaterWait()
    {
        for (var stay = 1; stay <= 3; stay++)
        {
            var waiting = Wait(deadline: _clock.Exact + (5 * Second));
            Pass(TimeSpan.FromSeconds(4.75));
            _gate.TryHandOver(_place, out _);
            Assert.Equal(AdmissionOutcome.Granted, (await waiting).Outcome);
        }

        var last = Wait(deadline: _clock.Exact + (5 * Second));
        Pass(TimeSpan.FromSeconds(4.999));
        Assert.Equal(1, _gate.Read().Waiting);
        Pass(TimeSpan.FromSeconds(0.001));

        Assert.Equal(AdmissionOutcome.TimedOut, (await last).Outcome);
    }

    [Fact]
    public async Task Enter_SecondStayIsShorterThanTheFirst_EndsAtItsOwnDeadline()
    {
        var first = Wait(deadline: 10 * Second);
        _gate.TryHandOver(_place, out _);
        await first;

        var second = Wait(deadline: 1 * Second);
        Pass(TimeSpan.FromSeconds(1));

        Assert.Equal(AdmissionOutcome.TimedOut, (await second).Outcome);
    }

    [Fact]
    public void Enter_SomethingIsIdle_IsOverAndWasNeverQueued()
    {
        var queued = 0;
        var gate = GateKit.WithIdle(1);
        _waiter.Prepare(gate, blocking: false, long.MaxValue, who: null);

        Assert.True(new WaitingRoom(gate, _clock).Enter(_waiter, returning: false, _ => queued++, TestContext.Current.CancellationToken));

        Assert.Equal(AdmissionOutcome.Granted, _waiter.Admission.Outcome);
        Assert.False(_waiter.HasWaited);
        Assert.Equal(0, queued);
    }

    [Fact]
    public async Task Enter_Queued_SaysSoOnce()
    {
        var queued = 0;
        _waiter.Prepare(_gate, blocking: false, long.MaxValue, who: null);
        Assert.False(_room.Enter(_waiter, returning: false, _ => queued++, TestContext.Current.CancellationToken));

        _gate.Close();

        Assert.Equal(AdmissionOutcome.Closed, (await _waiter.GoneOn).Outcome);
        Assert.Equal(1, queued);
    }

    [Fact]
    [Trait("Conformance", "29")]
    public async Task Wait_BlockedOnAnotherThread_EndsWithTheHandOver()
    {
        _waiter.Prepare(_gate, blocking: true, long.MaxValue, who: null);
        var waiting = Task.Factory.StartNew(
            () => _room.Wait(_waiter, returning: false, _ => { }),
            TestContext.Current.CancellationToken,
            TaskCreationOptions.LongRunning,
            TaskScheduler.Default);
        await Eventually.True(() => _gate.Read().Waiting == 1, "the caller stands in the queue");

        _gate.TryHandOver(_place, out _);

        await waiting;
        Assert.Equal(_place, _waiter.Admission.Place);
    }

    /// <summary>Left in the queue, it would be given a place that nobody takes.</summary>
    [Fact]
    public async Task Wait_TheThreadIsInterrupted_ThrowsAndLeavesTheQueue()
    {
        _waiter.Prepare(_gate, blocking: true, 5 * Second, who: null);
        var thrown = new TaskCompletionSource<Exception?>();
        var thread = new Thread(() => thrown.SetResult(Record.Exception(() => _room.Wait(_waiter, returning: false, _ => { })))) { IsBackground = true };
        thread.Start();
        await Eventually.True(() => _gate.Read().Waiting == 1, "the caller stands in the queue");

        thread.Interrupt();

        Assert.IsType<ThreadInterruptedException>(await thrown.Task);
        Assert.Equal((0, 0), (_gate.Read().Waiting, _time.ActiveTimers));
        Assert.True(_gate.TryGiveBack(_place));
    }

    [Fact]
    public async Task Wait_TheThreadIsInterruptedAsItIsServed_KeepsThePlaceAndPassesTheInterruptOn()
    {
        _waiter.Prepare(_gate, blocking: true, 5 * Second, who: null);
        var ended = new TaskCompletionSource<(AdmissionResult Admission, Exception? Next)>();
        using var never = new ManualResetEventSlim();
        var thread = new Thread(() =>
        {
            _room.Wait(_waiter, returning: false, _ =>
            {
                _gate.TryHandOver(_place, out var _);
                Thread.CurrentThread.Interrupt();
                never.Wait();
            });
            ended.SetResult((_waiter.Admission, Record.Exception(never.Wait)));
        }) { IsBackground = true };
        thread.Start();

        var (admission, next) = await ended.Task;
        Assert.Equal(new AdmissionResult(AdmissionOutcome.Granted, _place), admission);
        Assert.IsType<ThreadInterruptedException>(next);
    }

    /// <summary>A thread that could not be started for an open, say. The waiter is about to be re-used: in the queue it would stand twice.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void EnterOrWait_WhatFollowsOnTheQueueThrows_LeavesTheQueue(bool blocking)
    {
        _waiter.Prepare(_gate, blocking, Second / 2, who: null);
        Action<Waiter> fails = _ => throw new InvalidOperationException("no thread");

        Assert.Throws<InvalidOperationException>(() =>
        {
            if (blocking)
            {
                _room.Wait(_waiter, returning: false, fails);
            }
            else
            {
                _room.Enter(_waiter, returning: false, fails, TestContext.Current.CancellationToken);
            }
        });

        Assert.Equal((0, 0), (_gate.Read().Waiting, _time.ActiveTimers));
        Assert.False(_waiter.GoneOn.IsCompleted);
        Assert.True(_gate.TryGiveBack(_place));
    }

    /// <summary>A timer's callback that was held up for so long that its waiter has left, and is here again.</summary>
    [Fact]
    public void TryTimeOut_TheBudgetOfThisStayIsNotOver_LeavesItInTheQueue()
    {
        _waiter.Prepare(_gate, blocking: false, 10 * Second, who: null);
        Assert.False(_room.Enter(_waiter, returning: false, _ => { }, TestContext.Current.CancellationToken));

        Assert.False(_gate.TryTimeOut(_waiter, now: 5 * Second));

        Assert.Equal(1, _gate.Read().Waiting);
        Assert.True(_gate.TryTimeOut(_waiter, now: 10 * Second));
    }

    private Task<AdmissionResult> Wait(long deadline) => WaitCancellable(deadline, CancellationToken.None);

    private Task<AdmissionResult> WaitCancellable(long deadline, CancellationToken cancellationToken)
    {
        _waiter.Renew();
        _waiter.Prepare(_gate, blocking: false, deadline, who: null);
        Assert.False(_room.Enter(_waiter, returning: false, _ => { }, cancellationToken));
        return _waiter.GoneOn;
    }

    /// <summary>Time passes, with the ticks of a maintenance loop.</summary>
    private void Pass(TimeSpan time)
    {
        var end = _clock.Exact + time.Ticks;
        while (_clock.Coarse + MaintenanceLoop.Period.Ticks <= end)
        {
            _time.Advance(TimeSpan.FromTicks(_clock.Coarse + MaintenanceLoop.Period.Ticks - _clock.Exact));
            Tick();
        }

        _time.Advance(TimeSpan.FromTicks(end - _clock.Exact));
    }

    private void Tick()
    {
        _clock.Refresh();
        _room.ArmNear();
    }
}
