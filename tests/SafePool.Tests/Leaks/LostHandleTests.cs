using System.Runtime.CompilerServices;
using SafePool.TestKit;
using SafePool.Tests.Leases;
using Xunit;

namespace SafePool.Tests.Leaks;

/// <summary>What the collector finds of leases that were taken away: their handles are orphans, and the next lease on the place is not theirs.</summary>
[Collection(nameof(DroppedLeaseTests))]
public sealed class LostHandleTests
{
    private static readonly TimeSpan _patience = TimeSpan.FromSeconds(40);

    private Lease? _kept;

    [Fact]
    public async Task Collect_TheHolderDropsItsAbandonedLeaseLater_LeavesTheNextLeaseAlone()
    {
        await using var scripted = Create();
        Keep(scripted, use: true);
        using var next = await AbandonAsync(scripted);

        Forget();
        Collect(4);
        scripted.Clock.Advance(TimeSpan.FromSeconds(1));

        Assert.Equal(next.Id, Assert.Single(scripted.Snapshot.Holders).LeaseId);
        Assert.Equal((1L, 1L), (scripted.Snapshot.TotalReclaimed, scripted.Snapshot.TotalLeaksReported));
        Assert.NotNull(next.Connection);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public async Task Collect_TheLeaseWasDroppedAndThenAbandoned_LeavesTheNextLeaseAloneAndCountsOnce(int collectionsBefore)
    {
        await using var scripted = Create();
        RentAndDrop(scripted, use: true);
        Collect(collectionsBefore);

        // Taken back by whoever comes first: as dropped once it is overdue, or as abandoned.
        using var next = await AbandonAsync(scripted);
        Collect(4);
        scripted.Clock.Advance(TimeSpan.FromSeconds(1));

        Assert.Equal(next.Id, Assert.Single(scripted.Snapshot.Holders).LeaseId);
        Assert.Equal((1L, 1L), (scripted.Snapshot.TotalReclaimed, scripted.Snapshot.TotalLeaksReported));
    }

    [Fact]
    [Trait("Conformance", "90")]
    public async Task Collect_TheLeaseAfterAnAbandonedOneIsDropped_IsFound()
    {
        await using var scripted = Create();
        Keep(scripted, use: true);
        await AbandonAndReturnAsync(scripted);
        Forget();

        // What served the waiter is still on the stack below, with a copy of its lease.
        await Task.Yield();

        for (var round = 2; round <= 4; round++)
        {
            RentAndDrop(scripted, use: false);
            Collect(2);
            await scripted.UntilAsync(pool => pool.Leased == 0);
            Assert.Equal((round, round), (scripted.Snapshot.TotalReclaimed, scripted.Snapshot.TotalLeaksReported));
        }
    }

    [Fact]
    [Trait("Conformance", "90")]
    public async Task Collect_TheLeaseWasReportedAsOverdueBefore_IsTakenBackAndCountedOnce()
    {
        await using var scripted = ScriptedPool.Create();
        RentAndDrop(scripted, use: true);
        scripted.Clock.Advance(TimeSpan.FromSeconds(31));
        Assert.Equal((1L, 0L), (scripted.Snapshot.TotalLeaksReported, scripted.Snapshot.TotalReclaimed));

        Collect(2);

        await scripted.UntilAsync(pool => pool.Leased == 0);
        Assert.Equal((1L, 1L), (scripted.Snapshot.TotalLeaksReported, scripted.Snapshot.TotalReclaimed));
        Assert.Equal(
            ["is overdue", "was lost without being returned"],
            scripted.Log.Said(LeakKit.Leak).Select(said => said.Contains("is overdue", StringComparison.Ordinal) ? "is overdue" : "was lost without being returned"));
        Assert.EndsWith("was lost without being returned, and taken back. Declare it with 'using'.", scripted.Log.Said(LeakKit.Leak)[1], StringComparison.Ordinal);
    }

    [Fact]
    [Trait("Conformance", "90")]
    public async Task Collect_TrackingIsOff_ADroppedLeaseIsTakenBackAllTheSame()
    {
        await using var scripted = ScriptedPool.Create(options => options.Leaks.Tracking = LeaseTracking.Off);
        RentAndDrop(scripted, use: false);

        Collect(2);

        await scripted.UntilAsync(pool => pool.Leased == 0);
        Assert.Equal(1, scripted.Snapshot.TotalReclaimed);
        Assert.Contains("rented at an unknown line was lost", Assert.Single(scripted.Log.Said(LeakKit.Leak)), StringComparison.Ordinal);
    }

    private static ScriptedPool Create()
        => ScriptedPool.Create(options => (options.MaxSize, options.Leaks.AbandonAfter) = (1, _patience));

    private static async Task<Lease> AbandonAsync(ScriptedPool scripted)
    {
        var waiting = scripted.BeginPatientRent();
        scripted.Clock.Advance(_patience);
        return await waiting;
    }

    private static async Task AbandonAndReturnAsync(ScriptedPool scripted)
    {
        await using var next = await AbandonAsync(scripted);
        Assert.Equal(1, scripted.Snapshot.TotalReclaimed);
    }

    // Blocking, because what awaits a lease may keep a copy of it on the stack for a while.
    [MethodImpl(MethodImplOptions.NoInlining)]
    private void Keep(ScriptedPool scripted, bool use)
    {
        var lease = scripted.Pool.Rent();
        _ = use ? lease.Connection : null;
        _kept = lease;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private void Forget()
    {
        Assert.Throws<LeaseAbandonedException>(() => _kept!.Value.Connection);
        _kept!.Value.Dispose();
        _kept = null;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void RentAndDrop(ScriptedPool scripted, bool use)
    {
        var lease = scripted.Pool.Rent();
        _ = use ? lease.Connection : null;
    }

    private static void Collect(int times)
    {
        for (var i = 0; i < times; i++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }
    }
}
