using Xunit;

namespace SafePool.ChaosTests.Faults;

public sealed class ScheduleTests
{
    [Fact]
    public void Next_SameSeed_GivesTheSameEpisodes()
    {
        var (one, other) = (new Schedule(7), new Schedule(7));

        var episodes = Enumerable.Range(0, 50).Select(_ => one.Next().ToString()).ToArray();

        Assert.Equal(episodes, Enumerable.Range(0, 50).Select(_ => other.Next().ToString()));
    }

    [Fact]
    public void Next_ForAMinute_MeetsEveryKindOfFault()
    {
        var schedule = new Schedule(Chaos.Seed, withPooler: true);

        var met = Enumerable.Range(0, 30).SelectMany(_ => schedule.Next().Faults).Select(fault => fault.GetType().Name).ToHashSet();

        var all = typeof(Fault).Assembly.GetTypes().Where(type => type is { IsAbstract: false } && type.IsSubclassOf(typeof(Fault))).Select(type => type.Name);
        Assert.All(all, name => Assert.True(met.Contains(name), $"{name} did not come in 30 episodes; seed {Chaos.Seed}"));
    }

    [Fact]
    public void Next_OnlySome_DealsThoseAlone()
    {
        var schedule = new Schedule(Chaos.Seed, only: ["Stalled", "Terminated"]);

        Assert.All(Enumerable.Range(0, 20).SelectMany(_ => schedule.Next().Faults), fault => Assert.True(fault is Stalled or Terminated, $"{fault}"));
    }

    [Fact]
    public void Create_NoSuchFault_IsRefused() => Assert.Throws<ArgumentException>(() => new Schedule(1, only: ["Flood"]));
}
