using SafePool.TestKit;
using SafePool.Time;
using Xunit;

namespace SafePool.Tests.Maintenance;

/// <summary>Time in which the process ran, told from time in which it stood still.</summary>
public sealed class PoolClockTests
{
    private static readonly TimeSpan _promised = TimeSpan.FromMilliseconds(250);

    private readonly ManualTimeProvider _time = new();
    private readonly PoolClock _clock;

    public PoolClockTests() => _clock = new PoolClock(_time) { Promised = _promised };

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public void RunningSince_TicksComeAsPromised_IsAllThatHasPassed()
    {
        var begun = _clock.Exact;

        Run(TimeSpan.FromSeconds(30));

        Assert.Equal(TimeSpan.FromSeconds(30), _clock.RunningSince(begun));
        Assert.Equal(TimeSpan.Zero, _clock.FrozenSince(begun));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void RunningSince_TheProcessStoodStill_LeavesThatOut(bool ticksFirst)
    {
        var begun = _clock.Exact;
        Run(TimeSpan.FromSeconds(1));
        _time.Freeze(TimeSpan.FromSeconds(10));
        if (ticksFirst)
        {
            _clock.Refresh();
        }

        // All but what was promised until the next tick.
        Assert.Equal(TimeSpan.FromSeconds(1) + _promised, _clock.RunningSince(begun));
        Assert.Equal(TimeSpan.FromSeconds(11), _clock.Since(begun));
    }

    [Fact]
    public void RunningSince_BegunWhileItStoodStillOrAfter_CountsOnlyWhatOverlaps()
    {
        _time.Freeze(TimeSpan.FromSeconds(4));
        var within = _time.GetTimestamp();
        _time.Freeze(TimeSpan.FromSeconds(6));
        _clock.Refresh();
        var after = _clock.Exact;
        Run(TimeSpan.FromSeconds(2));

        Assert.Equal(TimeSpan.FromSeconds(2), _clock.RunningSince(within));
        Assert.Equal(TimeSpan.FromSeconds(2), _clock.RunningSince(after));
    }

    [Fact]
    public void RunningSince_ATickIsLateByLessThanASecond_CountsAll()
    {
        var begun = _clock.Exact;

        _time.Freeze(_promised + TimeSpan.FromSeconds(1));

        Assert.Equal(_promised + TimeSpan.FromSeconds(1), _clock.RunningSince(begun));
    }

    /// <summary>Starved ticks hide no outage as long as anybody asks.</summary>
    [Fact]
    public void RunningSince_NoTicksButCallersWhoAsk_CountsAll()
    {
        var begun = _clock.Exact;

        for (var i = 0; i < 10; i++)
        {
            _time.Freeze(TimeSpan.FromSeconds(1));
            Assert.Equal(TimeSpan.FromSeconds(i + 1), _clock.RunningSince(begun));
        }
    }

    [Fact]
    public void RunningSince_SeveralFreezes_LeavesOutEach()
    {
        var begun = _clock.Exact;

        for (var i = 0; i < 5; i++)
        {
            _time.Freeze(TimeSpan.FromSeconds(3));
            _clock.Refresh();
        }

        Assert.Equal(5 * _promised, _clock.RunningSince(begun));
    }

    [Fact]
    public void Promised_ALongerOne_IsWhatTheNextTicksAreMeasuredBy()
    {
        var begun = _clock.Exact;
        _clock.Promised = TimeSpan.FromSeconds(30);
        _time.Freeze(TimeSpan.FromSeconds(30));
        Assert.Equal(TimeSpan.FromSeconds(30), _clock.RunningSince(begun));

        _clock.Promised = _promised;
        _time.Freeze(TimeSpan.FromSeconds(30));
        Assert.Equal(TimeSpan.FromSeconds(30) + _promised, _clock.RunningSince(begun));
    }

    [Fact]
    public void RunningSince_NobodyTicksYet_CountsAll()
    {
        var clock = new PoolClock(_time);
        var begun = clock.Exact;

        _time.Freeze(TimeSpan.FromMinutes(1));

        Assert.Equal(TimeSpan.FromMinutes(1), clock.RunningSince(begun));
    }

    [Fact]
    public async Task WaitAsync_TheProcessStoodStill_WaitsForWhatIsLeft()
    {
        var work = new TaskCompletionSource<bool>();
        var waiting = _clock.WaitAsync(work.Task, TimeSpan.FromSeconds(2), Cancellation);
        _time.Freeze(TimeSpan.FromSeconds(10));
        _time.Advance(TimeSpan.Zero);
        await Eventually.True(() => _time.ActiveTimers == 1, "it waits again");
        Assert.False(waiting.IsCompleted);

        work.SetResult(true);

        Assert.True(await waiting);
    }

    [Fact]
    public async Task WaitAsync_NothingHappensWhileTheProcessRuns_TimesOut()
    {
        var waiting = _clock.WaitAsync(new TaskCompletionSource<bool>().Task, TimeSpan.FromSeconds(2), Cancellation);

        Run(TimeSpan.FromSeconds(2));

        await Assert.ThrowsAsync<TimeoutException>(() => waiting);
    }

    private void Run(TimeSpan time)
    {
        for (var left = time; left > TimeSpan.Zero; left -= _promised)
        {
            _time.Advance(_promised);
            _clock.Refresh();
        }
    }
}
