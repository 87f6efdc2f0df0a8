using SafePool.Driver;
using SafePool.TestKit;
using SafePool.Tests.Options;
using SafePool.Time;
using Xunit;

namespace SafePool.Tests.Connections;

public sealed class PhysicalConnectionsTests
{
    private static readonly TimeSpan Lifetime = TimeSpan.FromHours(1);

    private readonly ManualTimeProvider _clock = new();
    private readonly PhysicalConnections _physicals;

    public PhysicalConnectionsTests() => _physicals = Create(Lifetime);

    [Fact]
    [Trait("Conformance", "56")]
    public void Register_Many_DrawsEachLifetimeOnceWithinTenPercentAndSpreadsThem()
    {
        var lifetimes = Enumerable.Range(0, 1_000).Select(_ => TimeSpan.FromTicks(Register().ExpiresAt)).ToList();

        Assert.All(lifetimes, lifetime => Assert.InRange(lifetime, Lifetime * 0.9, Lifetime * 1.1));
        Assert.True(lifetimes.Max() - lifetimes.Min() > Lifetime * 0.15, "they are spread");
        Assert.InRange(lifetimes.Average(lifetime => lifetime / Lifetime), 0.98, 1.02);
    }

    [Fact]
    public void Register_NoLimitToTheLifetime_NeverExpires()
    {
        var physicals = Create(Timeout.InfiniteTimeSpan);
        var physical = physicals.Register(new object(), generation: 0, isDirect: true);

        _clock.Advance(TimeSpan.FromDays(365));
        physicals.Refresh(hasSurplus: false);

        Assert.False(physicals.IsExpired(physical));
        Assert.False(physicals.NeedsCare);
    }

    [Fact]
    public void Find_ByIdentity_KnowsItsOwnAndNoOther()
    {
        var identity = new object();
        var physical = _physicals.Register(identity, generation: 3, isDirect: false);

        Assert.Same(physical, _physicals.Find(identity));
        Assert.Equal((3, false), (physical.Generation, physical.IsDirect));
        Assert.Null(_physicals.Find(new object()));
        Assert.Equal(1, _physicals.TotalOpened);
    }

    [Fact]
    [Trait("Conformance", "57")]
    public void Refresh_AConnectionIsTooOld_AsksForCareUntilItIsRetired()
    {
        var identity = new object();
        var physical = _physicals.Register(identity, generation: 0, isDirect: true);
        _clock.Advance(Lifetime * 0.89);
        _clock.SetUtcNow(DateTimeOffset.MaxValue);
        _physicals.Refresh(hasSurplus: false);
        Assert.False(_physicals.NeedsCare);

        _clock.SetUtcNow(DateTimeOffset.MinValue);
        _clock.Advance(Lifetime * 0.22);
        _physicals.Refresh(hasSurplus: false);
        Assert.True(_physicals.IsExpired(physical));
        Assert.True(_physicals.NeedsCare);
        physical.IsRetired = true;
        _physicals.Refresh(hasSurplus: false);

        Assert.False(_physicals.NeedsCare);
        GC.KeepAlive(identity);
    }

    [Fact]
    public void RequireCare_UntilTheConnectionIsTidy_KeepsAsking()
    {
        var identity = new object();
        var physical = _physicals.Register(identity, generation: 0, isDirect: true);
        physical.NeedsFlush = true;

        _physicals.RequireCare();
        Assert.True(_physicals.NeedsCare);
        _physicals.Refresh(hasSurplus: false);
        Assert.True(_physicals.NeedsCare);
        physical.NeedsFlush = false;
        _physicals.Refresh(hasSurplus: false);
        _physicals.Refresh(hasSurplus: false);

        Assert.False(_physicals.NeedsCare);
        GC.KeepAlive(identity);
    }

    [Fact]
    public void TryAdvance_SeveralSawTheSameGeneration_OnlyTheFirstAdvancesIt()
    {
        Assert.True(_physicals.TryAdvance(0));
        Assert.False(_physicals.TryAdvance(0));
        _physicals.Advance();

        Assert.Equal(2, _physicals.Generation);
    }

    private PhysicalConnection Register() => _physicals.Register(new object(), generation: 0, isDirect: true);

    private PhysicalConnections Create(TimeSpan lifetime)
        => new(OptionsKit.Settle(configure: options => options.MaxLifetime = lifetime), new PoolClock(_clock));
}
