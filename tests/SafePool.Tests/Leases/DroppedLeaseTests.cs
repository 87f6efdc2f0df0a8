using System.Runtime.CompilerServices;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Leases;

/// <summary>Collections are counted here, so no other test may run at the same time.</summary>
[CollectionDefinition(nameof(DroppedLeaseTests), DisableParallelization = true)]
public sealed class DroppedLeaseGroup;

[Collection(nameof(DroppedLeaseTests))]
public sealed class DroppedLeaseTests
{
    [Fact]
    [Trait("Conformance", "90")]
    public async Task Collect_TheLeaseWasNeverUsed_IsTakenBackAtTheSecondRunAndItsConnectionIsRetired()
    {
        await using var scripted = ScriptedPool.Create();
        RentAndDrop(scripted, use: false);

        Collect();
        Assert.Equal((1, 0), (scripted.Snapshot.Leased, scripted.Snapshot.TotalReclaimed));
        Collect();

        await scripted.UntilAsync(pool => pool.Leased == 0);
        Assert.Equal((0, 0, 1), (scripted.Source.Alive, scripted.Snapshot.Idle, scripted.Snapshot.TotalReclaimed));
        var entry = Assert.Single(scripted.Log.Entries, entry => entry.EventId.Id == 100);
        Assert.Contains("DroppedLeaseTests.cs:", entry.Message, StringComparison.Ordinal);
    }

    [Fact]
    [Trait("Conformance", "90")]
    public async Task Collect_TheLeaseWasUsed_IsTakenBackOnlyOnceItIsOverdue()
    {
        await using var scripted = ScriptedPool.Create();
        RentAndDrop(scripted, use: true);
        Collect();
        Collect();

        scripted.Clock.Advance(TimeSpan.FromSeconds(29));
        Assert.Equal(1, scripted.Snapshot.Leased);
        scripted.Clock.Advance(TimeSpan.FromSeconds(2));

        await scripted.UntilAsync(pool => pool.Leased == 0);
        Assert.Equal(1, scripted.Snapshot.TotalReclaimed);
    }

    [Fact]
    public async Task Collect_TheConnectionStillWorks_IsLeftAloneHoweverOverdue()
    {
        await using var scripted = ScriptedPool.Create();
        var connection = RentAndDrop(scripted, use: true)!;
        scripted.Source.SetState(connection, System.Data.ConnectionState.Executing);
        Collect();
        Collect();

        scripted.Clock.Advance(TimeSpan.FromMinutes(5));
        Assert.Equal(1, scripted.Snapshot.Leased);
        scripted.Source.SetState(connection, System.Data.ConnectionState.Open);
        scripted.Tick();

        await scripted.UntilAsync(pool => pool.Leased == 0);
    }

    [Fact]
    [Trait("Conformance", "91")]
    public async Task RentAsync_TheLeaseIsLostAfterTheWaitBegan_IsServedBeforeItsBudgetEnds()
    {
        await using var scripted = ScriptedPool.Create(options => options.MaxSize = 1);
        RentAndDrop(scripted, use: false);
        var waiting = scripted.BeginRent();

        Collect();
        Collect();

        using var lease = await waiting;
        Assert.Equal(2, scripted.Source.NumberOf(lease.Connection));
    }

    [Fact]
    public async Task Collect_AnotherFinalizerDisposesTheLease_IsAnOrdinaryReturn()
    {
        await using var scripted = ScriptedPool.Create();
        RentInside(scripted);

        Collect();
        Collect();

        await scripted.UntilAsync(pool => pool.Idle == 1);
        Assert.Equal((1, 0), (scripted.Source.Alive, scripted.Snapshot.TotalReclaimed));
    }

    [Fact]
    public async Task Collect_OneLeaseAfterTheOtherIsDroppedOnOnePlace_EachIsFound()
    {
        await using var scripted = ScriptedPool.Create(options => options.MaxSize = 1);

        for (var round = 1; round <= 3; round++)
        {
                RentAndDrop(scripted, use: false);
            Collect();
            Collect();
            await scripted.UntilAsync(pool => pool.Leased == 0);
            Assert.Equal(round, scripted.Snapshot.TotalReclaimed);
        }
    }

    [Fact]
    [Trait("Conformance", "104")]
    public void Collect_ThePoolWasDroppedWithoutDispose_ItIsGoneAndItsTimerStops()
    {
        var clock = new ManualTimeProvider();
        var pool = CreateAndDrop(clock);
        Assert.Equal(1, clock.ActiveTimers);

        Collect();
        Collect();
        Collect();
        Assert.False(pool.IsAlive);
        clock.Advance(TimeSpan.FromSeconds(1));

        Assert.Equal(0, clock.ActiveTimers);
    }

    // Blocking, because what awaits a lease may keep a copy of it on the stack for a while.
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static Npgsql.NpgsqlConnection? RentAndDrop(ScriptedPool scripted, bool use)
    {
        var lease = scripted.Pool.Rent();
        return use ? lease.Connection : null;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void RentInside(ScriptedPool scripted) => _ = new Holder(scripted.Pool.Rent());

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static WeakReference CreateAndDrop(ManualTimeProvider clock)
        => new(new ConnectionPool(new ConnectionPoolOptions { ConnectionString = "Host=db;Database=orders" }, timeProvider: clock));

    private static void Collect()
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
    }

    /// <summary>Somebody's object that returns its lease when it is finalized.</summary>
    private sealed class Holder(Lease lease)
    {
        ~Holder() => lease.Dispose();
    }
}
