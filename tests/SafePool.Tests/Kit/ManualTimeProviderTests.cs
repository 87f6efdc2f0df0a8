using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Kit;

public sealed class ManualTimeProviderTests
{
    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);

    private readonly ManualTimeProvider _clock = new();
    private readonly List<string> _fired = [];

    [Fact]
    public void Advance_PastTwoTimers_FiresThemInOrderOfDueTime()
    {
        using var later = OneShot("later", 3 * Second);
        using var sooner = OneShot("sooner", 1 * Second);

        _clock.Advance(5 * Second);

        Assert.Equal(["sooner at 1 s", "later at 3 s"], _fired);
        Assert.Equal(0, _clock.ActiveTimers);
    }

    [Fact]
    public void Advance_PastSeveralPeriods_FiresOncePerPeriod()
    {
        using var timer = _clock.CreateTimer(_ => Note("tick"), null, Second, 2 * Second);

        _clock.Advance(6 * Second);

        Assert.Equal(["tick at 1 s", "tick at 3 s", "tick at 5 s"], _fired);
        Assert.Equal(1, _clock.ActiveTimers);
    }

    [Fact]
    public void Advance_CallbackArmsItselfAgain_FiresTheNewDueTimeToo()
    {
        ITimer? timer = null;
        timer = _clock.CreateTimer(_ => { Note("again"); timer!.Change(2 * Second, Timeout.InfiniteTimeSpan); }, null, Second, TimeSpan.Zero);

        _clock.Advance(4 * Second);

        Assert.Equal(["again at 1 s", "again at 3 s"], _fired);
        timer.Dispose();
    }

    [Fact]
    public void Advance_ByZero_FiresWhatIsDueAtOnce()
    {
        using var timer = OneShot("now", TimeSpan.Zero);
        Assert.Empty(_fired);

        _clock.Advance(TimeSpan.Zero);

        Assert.Equal(["now at 0 s"], _fired);
    }

    [Fact]
    public async Task Dispose_BeforeDue_NeverFiresAndRefusesChange()
    {
        var timer = OneShot("never", Second);

        await timer.DisposeAsync();

        Assert.False(timer.Change(Second, Second));
        _clock.Advance(2 * Second);
        Assert.Empty(_fired);
        Assert.Equal(0, _clock.ActiveTimers);
    }

    [Fact]
    public void Advance_WhileACallbackRuns_LeavesOtherThreadsFreeToUseTheClock()
    {
        using var timer = _clock.CreateTimer(
            _ =>
            {
                var other = new Thread(() => OneShot("made elsewhere", 2 * Second));
                other.Start();
                Assert.True(other.Join(TimeSpan.FromSeconds(5)), "the clock's lock was held while a callback ran");
            },
            null,
            Second,
            Timeout.InfiniteTimeSpan);

        _clock.Advance(4 * Second);

        Assert.Equal(["made elsewhere at 3 s"], _fired);
    }

    [Fact]
    public void SetUtcNow_IntoThePast_MovesNeitherTimestampNorTimers()
    {
        using var timer = OneShot("due", 2 * Second);
        var before = _clock.GetTimestamp();
        var past = new DateTimeOffset(2020, 1, 1, 0, 0, 0, TimeSpan.Zero);

        _clock.SetUtcNow(past);
        _clock.Advance(3 * Second);

        Assert.Equal(past + 3 * Second, _clock.GetUtcNow());
        Assert.Equal(3 * Second, _clock.GetElapsedTime(before));
        Assert.Equal(["due at 2 s"], _fired);
    }

    [Fact]
    public async Task TaskDelay_OnThisClock_EndsWhenTimeIsMoved()
    {
        var delay = Task.Delay(Second, _clock, TestContext.Current.CancellationToken);
        Assert.False(delay.IsCompleted);

        _clock.Advance(Second);

        await delay;
    }

    private ITimer OneShot(string name, TimeSpan due) => _clock.CreateTimer(_ => Note(name), null, due, Timeout.InfiniteTimeSpan);

    private void Note(string name) => _fired.Add($"{name} at {_clock.GetTimestamp() / TimeSpan.TicksPerSecond} s");
}
