using Npgsql;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Pool;

public sealed class ConnectionPoolPauseTests
{
    [Fact]
    [Trait("Conformance", "66")]
    public async Task PauseAsync_RentsThatCome_WaitUntilTheEnd()
    {
        await using var scripted = ScriptedPool.Create();
        await scripted.FillAsync(2);

        await scripted.Pool.PauseAsync(TestContext.Current.CancellationToken);
        Assert.Equal((0, 0, true), (scripted.Source.Alive, scripted.Snapshot.Idle, scripted.Snapshot.IsPaused));
        var waiting = scripted.BeginRent();
        scripted.Tick(4);
        Assert.False(waiting.IsCompleted);
        Assert.False(scripted.Pool.TryRent(out _));
        Assert.Equal(0, scripted.Source.Alive);

        scripted.Pool.Resume();
        await (await waiting).DisposeAsync();
        Assert.Equal((1, 1, false), (scripted.Source.Alive, scripted.Snapshot.Idle, scripted.Snapshot.IsPaused));
    }

    [Fact]
    [Trait("Conformance", "66")]
    public async Task PauseAsync_LongerThanABudget_FailsThatRentWithPoolPaused()
    {
        await using var scripted = ScriptedPool.Create(options => options.AcquireTimeout = TimeSpan.FromSeconds(5));
        await scripted.Pool.PauseAsync(TestContext.Current.CancellationToken);

        var waiting = scripted.BeginRent();
        scripted.Clock.Advance(TimeSpan.FromSeconds(5));

        var error = await Assert.ThrowsAsync<PoolPausedException>(() => waiting);
        Assert.Equal(
            "Pool 'orders' is paused for maintenance: waited 5.0 s; 0 of 20 leased, 0 opening, 0 waiting. Resume() lets callers in again.",
            error.Message);
        Assert.Equal((TimeSpan.FromSeconds(5), 1), (error.Waited, (int)scripted.Snapshot.TotalTimeouts));
        Assert.True(error.Snapshot.IsPaused);
    }

    [Fact]
    [Trait("Conformance", "66")]
    public async Task PauseAsync_NoRoomInTheQueue_ThrowsAtOnce()
    {
        await using var scripted = ScriptedPool.Create(options => options.MaxWaiters = 0);
        await scripted.Pool.PauseAsync(TestContext.Current.CancellationToken);

        await Assert.ThrowsAsync<PoolPausedException>(() => scripted.BeginRent());
        await Assert.ThrowsAsync<PoolPausedException>(() => scripted.BeginRent(TimeSpan.Zero));
        scripted.Pool.Resume();
        await (await scripted.BeginRent()).DisposeAsync();
    }

    [Fact]
    public async Task PauseAsync_LeasesAreOut_EndsWhenTheLastIsBackAndKeepsNone()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(2);
        await using var disposal = scripted;

        var pausing = scripted.Pool.PauseAsync(TestContext.Current.CancellationToken);
        await leases[0].DisposeAsync();
        Assert.False(pausing.IsCompleted);
        await leases[1].DisposeAsync();

        await pausing;
        Assert.Equal(0, scripted.Source.Alive);
        Assert.Equal(2, scripted.Snapshot.TotalClosed);
    }

    [Fact]
    public async Task PauseAsync_CallersWait_GetNothingThatComesBackUntilTheEnd()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(1);
        await using var disposal = scripted;
        var waiting = scripted.BeginRent();

        var pausing = scripted.Pool.PauseAsync(TestContext.Current.CancellationToken);
        await leases[0].DisposeAsync();
        await pausing;
        Assert.False(waiting.IsCompleted);

        scripted.Pool.Resume();
        await (await waiting).DisposeAsync();
    }

    [Fact]
    public async Task PauseAsync_AnOpenIsUnderWay_ItsConnectionIsNotKept()
    {
        await using var scripted = ScriptedPool.Create();
        scripted.Source.HoldOpens = true;
        var waiting = scripted.BeginRent();
        await scripted.Source.PendingOpensReachAsync(1);

        var pausing = scripted.Pool.PauseAsync(TestContext.Current.CancellationToken);
        scripted.Source.HoldOpens = false;
        scripted.Source.CompleteNextOpen();
        await pausing;
        Assert.Equal((0, false), (scripted.Source.Alive, waiting.IsCompleted));

        scripted.Pool.Resume();
        await (await waiting).DisposeAsync();
    }

    [Fact]
    public async Task PauseAsync_Cancelled_StaysPausedUntilResume()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(1);
        await using var disposal = scripted;
        using var cancellation = new CancellationTokenSource();

        var pausing = scripted.Pool.PauseAsync(cancellation.Token);
        await cancellation.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => pausing);
        Assert.True(scripted.Snapshot.IsPaused);

        scripted.Pool.Resume();
        await leases[0].DisposeAsync();
        await (await scripted.BeginRent()).DisposeAsync();
    }

    [Fact]
    public async Task PauseAsync_TwiceAndResumedTwice_IsOnePause()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(1);
        await using var disposal = scripted;

        Task[] pausing = [scripted.Pool.PauseAsync(TestContext.Current.CancellationToken), scripted.Pool.PauseAsync(TestContext.Current.CancellationToken)];
        scripted.Pool.Resume();
        scripted.Pool.Resume();

        await Task.WhenAll(pausing);
        await leases[0].DisposeAsync();
        Assert.Single(scripted.Log.Entries, entry => entry.EventId.Id == 138);
        Assert.Single(scripted.Log.Entries, entry => entry.EventId.Id == 139);
        Assert.False(scripted.Snapshot.IsPaused);
    }

    [Fact]
    public async Task PauseAsync_WithAMinimum_OpensItAfterTheEndOnly()
    {
        await using var scripted = ScriptedPool.Create(options => options.MinSize = 2);
        await scripted.Pool.WarmUpAsync(TestContext.Current.CancellationToken);

        await scripted.Pool.PauseAsync(TestContext.Current.CancellationToken);
        scripted.Tick(4);
        Assert.Equal(0, scripted.Source.Alive);

        scripted.Pool.Resume();
        scripted.Tick();
        await scripted.UntilAsync(pool => pool.Idle == 2);
    }

    [Fact]
    public async Task WarmUpAsync_InAPause_WaitsForItsEndButNoLongerThanItsBudget()
    {
        await using var scripted = ScriptedPool.Create(options => (options.MinSize, options.AcquireTimeout) = (2, TimeSpan.FromSeconds(5)));
        await scripted.Pool.PauseAsync(TestContext.Current.CancellationToken);

        var warmUp = scripted.Pool.WarmUpAsync(TestContext.Current.CancellationToken);
        await Eventually.True(
            () =>
            {
                scripted.Tick();
                return warmUp.IsCompleted;
            },
            "its budget is over");

        await Assert.ThrowsAsync<PoolPausedException>(() => warmUp);
    }

    /// <summary>Nothing can be opened in a pause: that makes no full pool, and no circle of those who wait for its end.</summary>
    [Theory]
    [InlineData(4)]
    [InlineData(1)]
    public async Task PauseAsync_AHolderRentsOnceMore_WaitsForItsEnd(int maxSize)
    {
        await using var scripted = ScriptedPool.Create(options => (options.MaxSize, options.Leaks.NestedRents) = (maxSize, NestedRentPolicy.Warn));
        using var outer = await scripted.Pool.RentAsync(TestContext.Current.CancellationToken);
        var pausing = scripted.Pool.PauseAsync(TestContext.Current.CancellationToken);

        var inner = scripted.Pool.RentAsync(TestContext.Current.CancellationToken).AsTask();
        scripted.Tick(4);
        Assert.False(inner.IsCompleted);
        outer.Dispose();
        await pausing;

        scripted.Pool.Resume();
        await (await inner).DisposeAsync();
    }

    [Theory]
    [InlineData(4)]
    [InlineData(1)]
    public async Task PauseAsync_LongerThanThePatienceWithAFullPool_LetsRentsWait(int maxSize)
    {
        await using var scripted = ScriptedPool.Create(
            options => (options.MaxSize, options.Breaker.TripOnExhaustionAfter) = (maxSize, TimeSpan.FromSeconds(2)));
        var leases = await scripted.RentManyAsync(1);
        var pausing = scripted.Pool.PauseAsync(TestContext.Current.CancellationToken);
        scripted.Tick(20);

        var waiting = scripted.BeginRent();
        Assert.False(waiting.IsCompleted);
        await Assert.ThrowsAsync<PoolPausedException>(() => scripted.BeginRent(TimeSpan.Zero));
        await leases[0].DisposeAsync();
        await pausing;

        scripted.Pool.Resume();
        await (await waiting).DisposeAsync();
    }

    [Fact]
    public async Task PauseAsync_TheCircuitIsOpen_SaysThatThePoolIsPaused()
    {
        await using var scripted = ScriptedPool.Create();
        scripted.Source.FailOpensWith = new NpgsqlException("refused", new IOException());
        var refused = scripted.BeginRent();
        await Eventually.True(
            () =>
            {
                scripted.Tick();
                return scripted.Snapshot.Circuit == CircuitState.Open;
            },
            "the circuit is open");
        await Assert.ThrowsAsync<CircuitOpenException>(() => refused);

        await scripted.Pool.PauseAsync(TestContext.Current.CancellationToken);

        await Assert.ThrowsAsync<PoolPausedException>(() => scripted.BeginRent());
    }

    [Fact]
    public async Task PauseAsync_AClosedPool_Throws()
    {
        var scripted = ScriptedPool.Create();
        await scripted.DisposeAsync();

        await Assert.ThrowsAsync<PoolClosedException>(() => scripted.Pool.PauseAsync(TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task DisposeAsync_WhilePaused_FailsWhoWaits()
    {
        var scripted = ScriptedPool.Create();
        await scripted.Pool.PauseAsync(TestContext.Current.CancellationToken);
        var waiting = scripted.BeginRent();

        await scripted.DisposeAsync();

        await Assert.ThrowsAsync<PoolClosedException>(() => waiting);
    }
}
