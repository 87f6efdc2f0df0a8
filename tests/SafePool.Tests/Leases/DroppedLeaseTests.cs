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

    /// <summary>One with much time, or all of it, stands before one with little.</summary>
    [Theory]
    [InlineData(600)]
    [InlineData(-0.001)]
    public async Task RentAsync_APatientOneStandsBeforeIt_IsServedBeforeItsBudgetEnds(double patience)
    {
        await using var scripted = ScriptedPool.Create(options => (options.MaxSize, options.AcquireTimeout) = (2, TimeSpan.FromSeconds(5)));
        RentAndDrop(scripted, use: true);
        RentAndDrop(scripted, use: true);
        var patient = scripted.BeginRent(TimeSpan.FromSeconds(patience));
        var ordinary = scripted.BeginRent();
        Collect();
        Collect();

        scripted.Tick(7);
        Assert.Equal(2, scripted.Snapshot.Waiting);
        scripted.Tick(9);
        await scripted.UntilAsync(pool => pool.Waiting == 0);

        await (await patient).DisposeAsync();
        await (await ordinary).DisposeAsync();
        Assert.Equal((2L, 0L), (scripted.Snapshot.TotalReclaimed, scripted.Snapshot.TotalTimeouts));
    }

    /// <summary>Nobody waits where nobody may, or will: those who were turned away have run out of time all the same.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task RentAsync_NobodyWaits_ARefusalIsEnoughForTheNext(bool hasNoTime)
    {
        await using var scripted = ScriptedPool.Create(options => (options.MaxSize, options.MaxWaiters) = (1, hasNoTime ? 10 : 0));
        RentAndDrop(scripted, use: true);
        Collect();
        Collect();
        scripted.Tick(4);
        Assert.Equal(1, scripted.Snapshot.Leased);

        await Assert.ThrowsAnyAsync<PoolException>(() => scripted.BeginRent(hasNoTime ? TimeSpan.Zero : null));
        scripted.Tick(2);

        await scripted.UntilAsync(pool => pool.Leased == 0);
        Assert.Equal(1, scripted.Snapshot.TotalReclaimed);
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
