using System.Data;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Leaks;

public sealed class AbandonedLeaseTests
{
    private static readonly TimeSpan _patience = LeakKit.Patience;

    [Fact]
    [Trait("Conformance", "88")]
    public async Task Scan_QuietForLongWhileACallerWaits_GivesItsPlaceToTheCaller()
    {
        await using var scripted = LeakKit.CreateAbandoning(1);
        var lease = await scripted.RentAtAsync(57);
        var waiting = scripted.BeginPatientRent();

        scripted.Clock.Advance(_patience - TimeSpan.FromSeconds(0.25));
        Assert.Equal((1, 0L), (scripted.Snapshot.Waiting, scripted.Snapshot.TotalReclaimed));
        scripted.Tick();

        using var next = await waiting;
        Assert.Equal(2, scripted.Source.NumberOf(next.Connection));
        Assert.Equal(1, scripted.Source.Alive);
        Assert.Equal((1L, 1L), (scripted.Snapshot.TotalReclaimed, scripted.Snapshot.TotalLeaksReported));
        Assert.Equal(
            $"Pool 'orders': lease {lease.Id}, 1 min 0 s, rented at OrderStore.cs:57 (LoadAsync) was taken away from its holder because callers wait: " +
            "not seen at work for 1 min 0 s. Return it with 'using', or say ExpectedHold if it may take that long.",
            scripted.Log.Said(LeakKit.Leak)[1]);
    }

    [Fact]
    public async Task Use_AfterTheLeaseWasAbandoned_ThrowsFromEveryCopyAndDisposeDoesNothing()
    {
        await using var scripted = LeakKit.CreateAbandoning(1);
        var lease = await scripted.RentAtAsync(57);
        var copy = lease;
        var waiting = scripted.BeginPatientRent();
        scripted.Clock.Advance(_patience);
        using var next = await waiting;

        var error = Assert.Throws<LeaseAbandonedException>(() => lease.Connection);
        Assert.Equal((lease.Id, 57), (error.Holder.LeaseId, error.Holder.Line));
        Assert.Contains(
            $"This lease was taken away: lease {lease.Id}, 1 min 0 s, rented at OrderStore.cs:57 (LoadAsync), quiet for 1 min 0 s while others waited",
            error.Message,
            StringComparison.Ordinal);
        Assert.Throws<LeaseAbandonedException>(() => copy.CreateCommand());
        Assert.Throws<LeaseAbandonedException>(() => copy.CreateBatch());
        Assert.Throws<LeaseAbandonedException>(() => copy.BeginTransaction());
        await Assert.ThrowsAsync<LeaseAbandonedException>(async () => await copy.BeginTransactionAsync(cancellationToken: TestContext.Current.CancellationToken));
        copy.Cancel();
        lease.Dispose();
        await copy.DisposeAsync();

        Assert.Equal(next.Id, Assert.Single(scripted.Snapshot.Holders).LeaseId);
        Assert.Equal(2, scripted.Source.NumberOf(next.Connection));
        Assert.Empty(scripted.Log.Said(LeakKit.ReturnedAfterAll));
    }

    [Fact]
    public async Task Use_OfAnAbandonedLeaseAfterManyMoreOnItsPlace_StillSaysAbandoned()
    {
        await using var scripted = LeakKit.CreateAbandoning(1);
        var lease = await scripted.RentAtAsync(57);
        var waiting = scripted.BeginPatientRent();
        scripted.Clock.Advance(_patience);
        (await waiting).Dispose();
        await scripted.FillAsync(1);
        await scripted.FillAsync(1);

        Assert.Throws<LeaseAbandonedException>(() => lease.Connection);
    }

    [Fact]
    [Trait("Conformance", "88")]
    public async Task Scan_OverdueAndAbandonableAtOnce_ReportsAtOneLookAndActsAtTheNext()
    {
        await using var scripted = LeakKit.CreateAbandoning(1, options => options.Leaks.AbandonAfter = options.Leaks.Threshold);
        using var lease = await scripted.RentAtAsync(57);
        var waiting = scripted.BeginPatientRent();

        scripted.Clock.Advance(TimeSpan.FromSeconds(30));
        Assert.Equal((1, 1L, 0L), (scripted.Snapshot.Waiting, scripted.Snapshot.TotalLeaksReported, scripted.Snapshot.TotalReclaimed));
        scripted.Tick();

        using var next = await waiting;
        Assert.Equal(1, scripted.Snapshot.TotalReclaimed);
    }

    [Fact]
    public async Task Scan_AbandonAfterIsNotSet_TakesNothingAway()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(1);
        await using var disposal = scripted;
        var waiting = scripted.BeginPatientRent();

        scripted.Clock.Advance(TimeSpan.FromMinutes(20));

        Assert.Equal((1, 0L), (scripted.Snapshot.Waiting, scripted.Snapshot.TotalReclaimed));
        leases[0].Dispose();
        using var next = await waiting;
    }

    [Fact]
    [Trait("Conformance", "88")]
    public async Task Scan_NobodyWaits_TakesNothingAway()
    {
        await using var scripted = LeakKit.CreateAbandoning(1);
        using var lease = await scripted.RentAtAsync(57);

        scripted.Clock.Advance(TimeSpan.FromMinutes(20));

        Assert.Equal((1, 0L), (scripted.Snapshot.Leased, scripted.Snapshot.TotalReclaimed));
    }

    [Fact]
    [Trait("Conformance", "88")]
    public async Task Scan_AnOpenIsUnderWayForTheWaiter_TakesNothingAway()
    {
        await using var scripted = LeakKit.CreateAbandoning(2, options => options.ConnectTimeout = TimeSpan.FromMinutes(15));
        using var lease = await scripted.RentAtAsync(57);
        scripted.Source.HoldOpens = true;
        var waiting = scripted.BeginPatientRent();
        await scripted.Source.PendingOpensReachAsync(1);

        scripted.Clock.Advance(TimeSpan.FromMinutes(10));

        Assert.Equal(0, scripted.Snapshot.TotalReclaimed);
        scripted.Source.CompleteNextOpen();
        using var next = await waiting;
    }

    [Fact]
    [Trait("Conformance", "88")]
    public async Task Scan_SeveralAreQuiet_TakesTheQuietestAndNoMoreThanWait()
    {
        await using var scripted = LeakKit.CreateAbandoning(4);
        var leases = await scripted.RentManyAsync(4);
        scripted.Clock.Advance(TimeSpan.FromSeconds(10));
        _ = leases[0].Connection;
        _ = leases[2].Connection;
        scripted.Clock.Advance(TimeSpan.FromMinutes(3));

        using var first = await scripted.TickUntilAsync(scripted.BeginPatientRent());
        using var second = await scripted.TickUntilAsync(scripted.BeginPatientRent());
        scripted.Clock.Advance(TimeSpan.FromSeconds(10));

        Assert.Equal(2, scripted.Snapshot.TotalReclaimed);
        Assert.Equal([true, false, true, false], leases.Select(LeakKit.IsHeld));
    }

    [Fact]
    [Trait("Conformance", "89")]
    public async Task Scan_TheLeaseWasUsed_WaitsForAsLongAgain()
    {
        await using var scripted = LeakKit.CreateAbandoning(1);
        using var lease = await scripted.RentAtAsync(57);
        var waiting = scripted.BeginPatientRent();
        scripted.Clock.Advance(TimeSpan.FromSeconds(50));
        _ = lease.Connection;

        scripted.Clock.Advance(_patience - TimeSpan.FromSeconds(0.25));
        Assert.Equal(0, scripted.Snapshot.TotalReclaimed);
        scripted.Tick();

        using var next = await waiting;
        Assert.Equal(1, scripted.Snapshot.TotalReclaimed);
    }

    [Fact]
    [Trait("Conformance", "89")]
    public async Task Scan_ACommandWasSeenOnTheKeptConnection_WaitsForAsLongAgain()
    {
        await using var scripted = LeakKit.CreateAbandoning(1);
        using var lease = await scripted.RentAtAsync(57);
        var connection = lease.Connection;
        var waiting = scripted.BeginPatientRent();
        scripted.Clock.Advance(TimeSpan.FromSeconds(50));
        scripted.Source.SetState(connection, ConnectionState.Executing);
        scripted.Tick();
        scripted.Source.SetState(connection, ConnectionState.Open);

        scripted.Clock.Advance(_patience - TimeSpan.FromSeconds(0.25));
        Assert.Equal(0, scripted.Snapshot.TotalReclaimed);
        scripted.Tick();

        using var next = await waiting;
        Assert.Equal(1, scripted.Snapshot.TotalReclaimed);
    }

    [Fact]
    public async Task Scan_ExpectedHoldIsLonger_WaitsUntilTheLeaseIsOverdue()
    {
        await using var scripted = LeakKit.CreateAbandoning(1);
        using var lease = await scripted.RentAtAsync(57, new RentOptions { ExpectedHold = TimeSpan.FromMinutes(10) });
        var waiting = scripted.BeginPatientRent();

        scripted.Clock.Advance(TimeSpan.FromMinutes(10));
        Assert.Equal(0, scripted.Snapshot.TotalReclaimed);
        scripted.Tick();

        using var next = await waiting;
    }

    [Fact]
    public async Task Scan_TheRetirementFails_LosesNoPlace()
    {
        await using var scripted = LeakKit.CreateAbandoning(1);
        using var lease = await scripted.RentAtAsync(57);
        var waiting = scripted.BeginPatientRent();
        scripted.Source.FailNextRetireWith(new InvalidOperationException("retire"));

        scripted.Clock.Advance(_patience);

        using var next = await scripted.TickUntilAsync(waiting);
        Assert.Equal(1, scripted.Source.Alive);
    }
}
