using SafePool.Maintenance;
using SafePool.TestKit;
using SafePool.Time;
using Xunit;

namespace SafePool.Tests.Maintenance;

public sealed class LowWaterMarkTests
{
    private readonly ManualTimeProvider _clock = new();
    private readonly LowWaterMark _mark;

    public LowWaterMarkTests() => _mark = new LowWaterMark(new PoolClock(_clock));

    [Fact]
    public void Observe_TheWindowHasNotPassed_IsZero()
    {
        Assert.Equal(0, Observe(5));
        Assert.Equal(0, Observe(5, after: 9));
    }

    [Fact]
    public void Observe_ConstantForAWindow_IsThatValue()
    {
        Observe(5);

        Assert.Equal(5, Observe(5, after: 10));
    }

    [Fact]
    public void Observe_LowerInBetween_IsTheLowest()
    {
        Observe(5);
        Observe(2, after: 5);

        Assert.Equal(2, Observe(7, after: 5));
    }

    [Fact]
    [Trait("Conformance", "59")]
    public void Observe_TheLowestIsOlderThanTheWindow_IsForgotten()
    {
        Observe(0);
        Observe(5, after: 1);

        Assert.Equal(5, Observe(6, after: 11));
    }

    [Fact]
    [Trait("Conformance", "58")]
    public void Observe_ConstantSinceALowValueThatIsOlderThanTheWindow_IsThatConstant()
    {
        Observe(0);

        for (var second = 1; second <= 12; second++)
        {
            Observe(5, after: 1);
        }

        Assert.Equal(5, Observe(5, after: 1));
    }

    [Fact]
    [Trait("Conformance", "58")]
    public void Restart_AfterAFullWindow_WatchesAnotherOne()
    {
        Observe(5);
        Observe(5, after: 10);

        _mark.Restart();

        Assert.Equal(0, Observe(3));
        Assert.Equal(3, Observe(3, after: 10));
    }

    /// <summary>A lease came back after the last look of this tick: an unused pool must not sleep over the connection that is idle since.</summary>
    [Fact]
    public void NextChange_OfAValueThatWasNotNotedYet_IsAtOnce()
    {
        Observe(0);
        Observe(0, after: 20);

        Assert.Equal(long.MaxValue, _mark.NextChange(0, TimeSpan.FromSeconds(10)));
        Assert.Equal(_clock.GetTimestamp(), _mark.NextChange(1, TimeSpan.FromSeconds(10)));
    }

    private int Observe(int value, int after = 0)
    {
        _clock.Advance(TimeSpan.FromSeconds(after));
        return _mark.Observe(value, TimeSpan.FromSeconds(10));
    }
}
