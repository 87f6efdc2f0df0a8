using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Pool;

public sealed class ConnectionPoolCloseTests
{
    [Fact]
    [Trait("Conformance", "67")]
    public async Task Dispose_SeveralTimesAndFromSeveralThreads_IsOneDispose()
    {
        var scripted = ScriptedPool.Create();
        await scripted.FillAsync(2);

        await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => Task.Run(
            async () => await scripted.Pool.DisposeAsync(), TestContext.Current.CancellationToken)));
        scripted.Pool.Dispose();
        var report = await scripted.Pool.DrainAsync(TimeSpan.Zero, TestContext.Current.CancellationToken);

        Assert.True(report.Drained);
        Assert.Equal(2, scripted.Snapshot.TotalClosed);
        Assert.Equal(0, scripted.Source.Alive);
    }

    [Fact]
    [Trait("Conformance", "68")]
    public async Task DrainAsync_CallersWait_FailsThemPromptly()
    {
        var (scripted, _) = await ScriptedPool.CreateFullAsync(1);
        await using var disposal = scripted;
        var waiting = scripted.BeginRent();
        var blocked = Task.Factory.StartNew(
            () => scripted.Pool.Rent(), TestContext.Current.CancellationToken, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        await scripted.UntilAsync(pool => pool.Waiting == 2);

        var draining = scripted.Pool.DrainAsync(TimeSpan.FromMinutes(1), TestContext.Current.CancellationToken);

        await Assert.ThrowsAsync<PoolClosedException>(() => waiting);
        await Assert.ThrowsAsync<PoolClosedException>(() => blocked);
        Assert.False(draining.IsCompleted);
    }

    [Fact]
    [Trait("Conformance", "69")]
    public async Task DrainAsync_ALeaseDoesNotComeBack_SaysWhoHoldsIt()
    {
        await using var scripted = ScriptedPool.Create();
        using var lease = await scripted.Pool.RentAsync(TestContext.Current.CancellationToken, "LoadAsync", @"C:\src\OrderStore.cs", 57);
        var draining = scripted.Pool.DrainAsync(TimeSpan.FromSeconds(10), TestContext.Current.CancellationToken);

        scripted.Clock.Advance(TimeSpan.FromSeconds(10));

        var report = await draining;
        Assert.False(report.Drained);
        Assert.Equal(TimeSpan.FromSeconds(10), report.Elapsed);
        var holder = Assert.Single(report.Remaining);
        Assert.Equal(("LoadAsync", "OrderStore.cs", 57), (holder.Member, holder.File, holder.Line));
    }

    [Fact]
    [Trait("Conformance", "69")]
    [Trait("Conformance", "70")]
    public async Task DrainAsync_TheLastLeaseComesBack_EndsAndTheConnectionIsClosed()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(2);
        await using var disposal = scripted;
        var draining = scripted.Pool.DrainAsync(Timeout.InfiniteTimeSpan, TestContext.Current.CancellationToken);

        await leases[0].DisposeAsync();
        Assert.False(draining.IsCompleted);
        leases[1].Dispose();

        Assert.True((await draining).Drained);
        Assert.Equal(0, scripted.Source.Alive);
        Assert.Equal(2, scripted.Snapshot.TotalClosed);
    }

    [Fact]
    [Trait("Conformance", "71")]
    public async Task Rent_AfterDispose_ThrowsClosedInEveryForm()
    {
        var scripted = ScriptedPool.Create();
        await scripted.FillAsync(1);
        await scripted.DisposeAsync();

        await Assert.ThrowsAsync<PoolClosedException>(() => scripted.BeginRent());
        await Assert.ThrowsAsync<PoolClosedException>(() => scripted.BeginRent(TimeSpan.Zero));
        await Assert.ThrowsAsync<PoolClosedException>(() => scripted.Pool.WarmUpAsync(TestContext.Current.CancellationToken));
        await Assert.ThrowsAsync<PoolClosedException>(
            async () => await scripted.Pool.OpenConnectionAsync(TestContext.Current.CancellationToken));
        Assert.Throws<PoolClosedException>(() => scripted.Pool.Rent());
        Assert.Throws<PoolClosedException>(() => scripted.Pool.TryRent(out _));
        Assert.Throws<PoolClosedException>(() => scripted.Pool.OpenConnection());
    }

    [Fact]
    [Trait("Conformance", "72")]
    public async Task Dispose_WhileConnectionsAreOpened_CancelsTheOpensAndLeavesNothing()
    {
        var scripted = ScriptedPool.Create(options => options.MinSize = 2);
        scripted.Source.HoldOpens = true;
        var warming = scripted.Pool.WarmUpAsync(TestContext.Current.CancellationToken);
        var rent = scripted.BeginRent();
        await scripted.Source.PendingOpensReachAsync(2);

        await scripted.DisposeAsync();

        await Assert.ThrowsAsync<PoolClosedException>(() => warming);
        await Assert.ThrowsAsync<PoolClosedException>(() => rent);
        await scripted.UntilAsync(pool => pool.Opening == 0);
        Assert.Equal((0, 0), (scripted.Source.Alive, scripted.Source.PendingOpens));
    }

    [Fact]
    [Trait("Conformance", "74")]
    public async Task Dispose_WithWaitersAndLeases_LeavesNoTimerBehind()
    {
        var (scripted, _) = await ScriptedPool.CreateFullAsync(1);
        var waiting = scripted.BeginRent();

        scripted.Pool.Dispose();
        await Assert.ThrowsAsync<PoolClosedException>(() => waiting);

        Assert.Equal(0, scripted.Clock.ActiveTimers);
        var logged = scripted.Log.Entries.Count;
        scripted.Clock.Advance(TimeSpan.FromHours(2));
        Assert.Equal(logged, scripted.Log.Entries.Count);
    }

    [Fact]
    [Trait("Conformance", "70")]
    public async Task Dispose_ALeaseIsOut_ItGoesOnWorkingAndIsClosedWhenItComesBack()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(1);

        await scripted.DisposeAsync();
        Assert.NotNull(leases[0].Connection);
        Assert.Equal(1, scripted.Source.Alive);
        leases[0].Dispose();

        Assert.Equal(0, scripted.Source.Alive);
        Assert.Equal(0, scripted.Snapshot.Leased);
    }
}
