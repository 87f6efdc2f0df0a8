using System.Data;
using Npgsql;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Pool;

public sealed class ConnectionPoolTimeoutTests
{
    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan Tick = TimeSpan.FromTicks(1);

    [Fact]
    [Trait("Conformance", "16")]
    public async Task RentAsync_PoolIsFull_FailsExactlyWhenTheBudgetEnds()
    {
        var (scripted, _) = await ScriptedPool.CreateFullAsync(1);
        await using var disposal = scripted;
        var waiting = scripted.BeginRent();

        scripted.Clock.Advance((5 * Second) - Tick);
        Assert.Equal(1, scripted.Snapshot.Waiting);
        scripted.Clock.Advance(Tick);

        var error = await Assert.ThrowsAsync<PoolExhaustedException>(() => waiting);
        Assert.Equal(5 * Second, error.Waited);
        Assert.Equal(1, scripted.Snapshot.TotalTimeouts);
    }

    [Fact]
    [Trait("Conformance", "16")]
    public async Task Rent_PoolIsFull_FailsWhenTheBudgetEndsOnABlockedThreadToo()
    {
        var (scripted, _) = await ScriptedPool.CreateFullAsync(1);
        await using var disposal = scripted;
        var waiting = Task.Factory.StartNew(
            () => scripted.Pool.Rent(), TestContext.Current.CancellationToken, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        await scripted.UntilAsync(pool => pool.Waiting == 1);

        scripted.Clock.Advance((5 * Second) - Tick);
        Assert.Equal(1, scripted.Snapshot.Waiting);
        scripted.Clock.Advance(Tick);

        Assert.Equal(5 * Second, (await Assert.ThrowsAsync<PoolExhaustedException>(() => waiting)).Waited);
    }

    [Fact]
    [Trait("Conformance", "16")]
    [Trait("Conformance", "85")]
    public async Task RentAsync_ALeaseComesBackJustAfterTheBudgetEnded_StillSaysThatThePoolWasExhausted()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(1);
        await using var disposal = scripted;
        var lease = leases[0];

        // The caller wakes up on another thread, so a single round may not meet the moment in between.
        for (var round = 0; round < 100; round++)
        {
            var waiting = scripted.BeginRent(Second);
            scripted.Clock.Advance(Second);
            await lease.DisposeAsync();
            await Assert.ThrowsAsync<PoolExhaustedException>(() => waiting);
            lease = await scripted.BeginRent();
        }

        await lease.DisposeAsync();
    }

    [Fact]
    [Trait("Conformance", "17")]
    [Trait("Conformance", "48")]
    public async Task RentAsync_QueuedFirstAndThenOpening_SpendsOneBudgetAndNamesThePhase()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(1);
        await using var disposal = scripted;
        scripted.Source.HoldOpens = true;
        var waiting = scripted.BeginRent();
        scripted.Clock.Advance(3 * Second);

        scripted.Source.Break(leases[0].Connection);
        await leases[0].DisposeAsync();
        await scripted.Source.PendingOpensReachAsync(1);
        scripted.Clock.Advance((2 * Second) - Tick);
        Assert.Equal(1, scripted.Snapshot.Waiting);
        scripted.Clock.Advance(Tick);

        var error = await Assert.ThrowsAsync<ConnectTimeoutException>(() => waiting);
        Assert.Equal(AcquirePhase.Opening, error.Phase);
        Assert.Equal(5 * Second, error.Waited);
    }

    [Fact]
    [Trait("Conformance", "18")]
    public async Task RentAsync_HandedAConnectionThatIsGone_StillFailsWhenTheFirstBudgetEnds()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(1);
        await using var disposal = scripted;
        var waiting = scripted.BeginRent();
        scripted.Clock.Advance(3 * Second);

        await ReturnUnfitAsync(scripted, leases[0]);
        await scripted.Source.PendingOpensReachAsync(1);
        Assert.Equal(1, scripted.Snapshot.Waiting);
        scripted.Clock.Advance(2 * Second);

        Assert.Equal(5 * Second, (await Assert.ThrowsAsync<ConnectTimeoutException>(() => waiting)).Waited);
    }

    [Fact]
    [Trait("Conformance", "18")]
    [Trait("Conformance", "21")]
    public async Task RentAsync_HandedAConnectionThatIsGone_KeepsItsPlaceInFront()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(1);
        await using var disposal = scripted;
        var first = scripted.BeginRent();
        var second = scripted.BeginRent();

        await ReturnUnfitAsync(scripted, leases[0]);
        await scripted.Source.PendingOpensReachAsync(1);
        await scripted.UntilAsync(pool => pool.Waiting == 2);
        scripted.Source.CompleteNextOpen();

        using var lease = await first;
        Assert.False(second.IsCompleted);
        Assert.Equal(1, scripted.Snapshot.Waiting);
    }

    [Fact]
    public async Task RentAsync_IdleConnectionIsGone_OpensAnotherInTheSameRent()
    {
        await using var scripted = ScriptedPool.Create();
        await scripted.FillAsync(1);
        scripted.Source.LoseAtRest();

        using var lease = await scripted.BeginRent();

        Assert.Equal(2, scripted.Source.NumberOf(lease.Connection));
        Assert.Equal(1, scripted.Snapshot.Leased);
        Assert.Equal(0, scripted.Snapshot.Idle);
    }

    [Fact]
    [Trait("Conformance", "19")]
    public async Task RentAsync_ZeroTimeoutOnAFullPool_FailsAtOnceAndNeverQueues()
    {
        var (scripted, _) = await ScriptedPool.CreateFullAsync(1);
        await using var disposal = scripted;
        var waits = scripted.Snapshot.TotalWaits;

        var rent = scripted.BeginRent(TimeSpan.Zero);

        Assert.True(rent.IsFaulted);
        await Assert.ThrowsAsync<PoolExhaustedException>(() => rent);
        Assert.Equal(waits, scripted.Snapshot.TotalWaits);
    }

    [Fact]
    [Trait("Conformance", "19")]
    public async Task RentAsync_ZeroTimeoutOnAnEmptyPool_FailsAtOnceAndOpensForTheNextCaller()
    {
        await using var scripted = ScriptedPool.Create();

        var rent = scripted.BeginRent(TimeSpan.Zero);

        Assert.True(rent.IsFaulted);
        await Assert.ThrowsAsync<ConnectTimeoutException>(() => rent);
        await scripted.UntilAsync(pool => pool.Idle == 1);
        using var lease = await scripted.BeginRent(TimeSpan.Zero);
    }

    [Fact]
    [Trait("Conformance", "19")]
    public async Task RentAsync_OwnTimeouts_OverrideThePoolsBothWays()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(1);
        await using var disposal = scripted;
        var hasty = scripted.BeginRent(Second);
        var patient = scripted.BeginRent(Timeout.InfiniteTimeSpan);

        scripted.Clock.Advance(Second);
        await Assert.ThrowsAsync<PoolExhaustedException>(() => hasty);
        scripted.Clock.Advance(TimeSpan.FromHours(1));
        await leases[0].DisposeAsync();

        using var lease = await patient;
    }

    [Fact]
    [Trait("Conformance", "28")]
    public async Task RentAsync_SeveralWaitSinceDifferentTimes_EachFailsOnItsOwnClock()
    {
        var (scripted, _) = await ScriptedPool.CreateFullAsync(1);
        await using var disposal = scripted;
        var waiting = new List<Task<Lease>>();
        for (var i = 0; i < 3; i++)
        {
            waiting.Add(scripted.BeginRent());
            scripted.Clock.Advance(Second);
        }

        scripted.Clock.Advance(Second);
        foreach (var one in waiting)
        {
            scripted.Clock.Advance(Second);
            await Assert.ThrowsAsync<PoolExhaustedException>(() => one);
            Assert.Equal(waiting.Count - 1 - waiting.IndexOf(one), scripted.Snapshot.Waiting);
        }
    }

    [Fact]
    [Trait("Conformance", "57")]
    public async Task SetUtcNow_WhileCallersWaitAndConnectionsRest_ChangesNothing()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(2);
        await using var disposal = scripted;
        var waiting = scripted.BeginRent();

        scripted.Clock.SetUtcNow(new DateTimeOffset(2050, 1, 1, 0, 0, 0, TimeSpan.Zero));
        scripted.Tick();
        scripted.Clock.SetUtcNow(new DateTimeOffset(1990, 1, 1, 0, 0, 0, TimeSpan.Zero));
        scripted.Tick();
        Assert.Equal(1, scripted.Snapshot.Waiting);
        await leases[0].DisposeAsync();
        await (await waiting).DisposeAsync();
        scripted.Tick();

        Assert.Equal(1, scripted.Snapshot.Idle);
        Assert.Equal(2, scripted.Source.Alive);
    }

    // A command of another flow still runs, and what is cancelled with it cannot be absorbed: the next holder finds the connection gone.
    private static async Task ReturnUnfitAsync(ScriptedPool scripted, Lease lease)
    {
        scripted.Source.HoldOpens = true;
        scripted.Source.FailExecutesWith = new NpgsqlException("gone");
        scripted.Source.SetState(lease.Connection, ConnectionState.Executing);
        await lease.DisposeAsync();
    }
}
