using SafePool.Admission;
using SafePool.Diagnostics;
using SafePool.Operations;
using SafePool.Renting;
using Xunit;

namespace SafePool.Tests.Verdicts;

/// <summary>What real components do too seldom, or too slowly, to be waited for.</summary>
public sealed class VerdictFinderTests
{
    [Fact]
    public void Find_TwoCausesWithAsManyPlaces_TakesTheOneThatIsSomebodysFault()
    {
        var diagnosis = Find(Busy(1, 3), Busy(2, 3), Quiet(3, 41), Quiet(4, 664));

        Assert.Equal([PoolVerdict.Leak, PoolVerdict.SlowQueries], diagnosis.Evidence.Select(evidence => evidence.Verdict));
        Assert.StartsWith(
            "2 leases were rented at OrderStore.cs:57 (LoadAsync) and were not seen running a command for 41.0 s to 11 min 4 s.",
            diagnosis.Evidence[0].Text,
            StringComparison.Ordinal);
    }

    [Fact]
    public void Find_MostHoldersAreOnlyAtWork_StillBlamesTheOneThatIsNot()
    {
        var diagnosis = Find(Busy(1, 0.3), Busy(2, 0.4), Busy(3, 0.2), Quiet(4, 31));

        Assert.Equal([PoolVerdict.Leak, PoolVerdict.Undersized], diagnosis.Evidence.Select(evidence => evidence.Verdict));
        Assert.DoesNotContain("Besides", diagnosis.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void Find_ALeaseIsLost_IsALeakHoweverShortItWasHeld()
    {
        var diagnosis = Find(Quiet(1, 2) with { IsLost = true });

        Assert.Contains(", lost (nothing refers to them any more).", diagnosis.Evidence[0].Text, StringComparison.Ordinal);
    }

    [Fact]
    public void Find_ALeaseMayBeHeldForLong_IsIdleAndNoLeak()
    {
        var diagnosis = Find(Quiet(1, 100) with { Threshold = TimeSpan.FromMinutes(5) });

        Assert.Equal(PoolVerdict.IdleHolders, diagnosis.Verdict);
    }

    [Theory]
    [InlineData(9.8, PoolVerdict.SlowQueries)]
    [InlineData(5, PoolVerdict.SlowQueries)]
    [InlineData(1.2, PoolVerdict.Undersized)]
    public void Find_BusyForTenSeconds_IsSlowUnlessTheServerSawItsCommandBeginLately(double commandAge, PoolVerdict verdict)
    {
        var backend = new BackendActivity { State = "active", StateAge = TimeSpan.FromSeconds(commandAge) };

        Assert.Equal(verdict, Find(Busy(1, 10) with { Backend = backend }).Verdict);
    }

    [Theory]
    [InlineData(0.2, PoolVerdict.IdleHolders)]
    [InlineData(0.9, PoolVerdict.Undersized)]
    [InlineData(0, PoolVerdict.Undersized)]
    public void Find_HeldForLongAndAtWorkOnlyNow_IsIdleIfItMostlyWas(double busyShare, PoolVerdict verdict)
    {
        var holder = Busy(1, 10) with { BusyFor = TimeSpan.FromSeconds(0.3), BusyShare = busyShare };

        Assert.Equal(verdict, Find(holder).Verdict);
    }

    [Theory]
    [InlineData(480, 9, true)]
    [InlineData(4, 2, true)]
    [InlineData(300, 20_000, false)]
    [InlineData(0, 0, false)]
    public void IsStarved_WorkWaitsForThreads_IsTrueWhenTheLastOfItWouldWaitForMoreThanASecond(long waiting, long done, bool isStarved)
    {
        var threads = new ThreadFacts { Waiting = waiting, Done = done, Elapsed = TimeSpan.FromSeconds(1.2), Threads = 8 };

        Assert.Equal(isStarved, threads.IsStarved);
    }

    /// <summary>Some progress is made, and the pool's own work waits all the same.</summary>
    [Theory]
    [InlineData(100, 0.7, true)]
    [InlineData(100, 0.3, false)]
    [InlineData(0, 0.7, false)]
    public void IsStarved_TheOwnWorkItemWaits_IsTrueFromHalfASecondOnIfOthersWaitToo(long waiting, double delay, bool isStarved)
    {
        var threads = new ThreadFacts { Waiting = waiting, Done = 10_000, Elapsed = TimeSpan.FromSeconds(1.2), Threads = 2, Delay = TimeSpan.FromSeconds(delay) };

        Assert.Equal(isStarved, threads.IsStarved);
    }

    /// <summary>One short wait on one short lease proves nothing; the line is named all the same.</summary>
    [Fact]
    public void Find_OneShortHold_SaysThatItIsTooLittleAndNamesTheHolder()
    {
        var evidence = Assert.Single(Find(Busy(1, 0.054)).Evidence);

        Assert.Equal(PoolVerdict.Undersized, evidence.Verdict);
        Assert.Contains("too little to say more: the longest lease has been held for 54 ms, rented at OrderStore.cs:57 (LoadAsync)", evidence.Text, StringComparison.Ordinal);
        Assert.Contains("only if all of its connections are needed", evidence.Remedy, StringComparison.Ordinal);
    }

    /// <summary>Who runs a command does not wait for a lease, whatever waits beside it in the same trace.</summary>
    [Theory]
    [InlineData(LeaseActivity.Running, PoolVerdict.SlowQueries)]
    [InlineData(LeaseActivity.Reading, PoolVerdict.NestedRents)]
    public void Find_AHolderOfATraceThatWaits_IsNestedUnlessItRunsACommand(LeaseActivity activity, PoolVerdict verdict)
    {
        var facts = Facts(Busy(1, 3) with { Activity = activity });

        Assert.Equal(verdict, VerdictFinder.Find(facts with { WaitingHolders = [1] }).Verdict);
    }

    /// <summary>Places without a lease wait for the server; unless nobody is there to take its answer.</summary>
    [Theory]
    [InlineData(1, false, PoolVerdict.ServerUnreachable)]
    [InlineData(1, true, PoolVerdict.ThreadPoolStarvation)]
    [InlineData(0.1, false, PoolVerdict.Undersized)]
    public void Find_PlacesWithoutLeaseHaveNoAnswer_ArePutDownToWhoDoesNotAnswer(double seconds, bool isStarved, PoolVerdict verdict)
    {
        var facts = Facts() with
        {
            Counts = new GateCounts(Idle: 0, Leased: 2, Opening: 0, Quarantined: 0, Waiting: 3) { Size = 2, Limit = 2 },
            Unanswered = [TimeSpan.FromSeconds(seconds), TimeSpan.FromSeconds(seconds)],
            Threads = isStarved ? new ThreadFacts { Waiting = 480, Done = 9, Elapsed = TimeSpan.FromSeconds(1.2), Threads = 8 } : new ThreadFacts(),
        };

        Assert.Equal(verdict, VerdictFinder.Find(facts).Verdict);
    }

    [Fact]
    public void Find_NothingAtAll_IsUndersized() => Assert.Equal(PoolVerdict.Undersized, Find().Verdict);

    private static Diagnosis Find(params LeaseHolder[] holders) => VerdictFinder.Find(Facts(holders));

    private static PoolFacts Facts(params LeaseHolder[] holders)
        => new()
        {
            Counts = new GateCounts(Idle: 0, Leased: holders.Length, Opening: 0, Quarantined: 0, Waiting: 3) { Size = holders.Length, Limit = holders.Length },
            Holders = [.. holders],
        };

    private static LeaseHolder Quiet(long lease, double seconds)
        => new()
        {
            LeaseId = lease,
            Member = "LoadAsync",
            File = "OrderStore.cs",
            Line = 57,
            Held = TimeSpan.FromSeconds(seconds),
            QuietFor = TimeSpan.FromSeconds(seconds),
            Threshold = TimeSpan.FromSeconds(30),
        };

    private static LeaseHolder Busy(long lease, double seconds)
        => Quiet(lease, seconds) with
        {
            Activity = LeaseActivity.Running,
            QuietFor = TimeSpan.Zero,
            BusyFor = TimeSpan.FromSeconds(seconds),
            BusyShare = 1,
        };
}
