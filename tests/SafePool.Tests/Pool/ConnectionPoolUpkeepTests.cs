using Npgsql;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Pool;

public sealed class ConnectionPoolUpkeepTests
{
    private const int FillFailed = 122;

    [Fact]
    [Trait("Conformance", "4")]
    public async Task Maintenance_WithAMinimum_OpensItWithoutARequest()
    {
        await using var scripted = ScriptedPool.Create(options => (options.MinSize, options.MaxConcurrentOpens) = (3, 2));
        scripted.Source.HoldOpens = true;

        scripted.Tick();
        await scripted.Source.PendingOpensReachAsync(2);
        scripted.Source.CompleteNextOpen();
        await scripted.UntilAsync(pool => pool.Idle == 1);
        scripted.Tick(4);
        await scripted.Source.PendingOpensReachAsync(2);
        scripted.Source.CompleteNextOpen();
        scripted.Source.CompleteNextOpen();

        await scripted.UntilAsync(pool => pool.Idle == 3);
        scripted.Tick(4);
        Assert.Equal(3, scripted.Source.Opens);
    }

    [Fact]
    [Trait("Conformance", "4")]
    public async Task WarmUpAsync_WithAMinimum_EndsWhenItIsOpen()
    {
        await using var scripted = ScriptedPool.Create(options => (options.MinSize, options.MaxConcurrentOpens) = (5, 2));

        scripted.Source.HoldOpens = true;
        var warming = scripted.Pool.WarmUpAsync(TestContext.Current.CancellationToken);

        for (var left = 5; left > 0; left--)
        {
            Assert.False(warming.IsCompleted);
            await scripted.Source.PendingOpensReachAsync(Math.Min(left, 2));
            scripted.Source.CompleteNextOpen();
        }

        await warming;
        Assert.Equal(5, scripted.Snapshot.Idle);
        Assert.Equal(2, scripted.Source.PeakConcurrentOpens);
    }

    [Fact]
    [Trait("Conformance", "5")]
    public async Task RentAsync_DuringWarmUp_IsServedFirst()
    {
        await using var scripted = ScriptedPool.Create(options => (options.MinSize, options.MaxConcurrentOpens) = (3, 1));
        scripted.Source.HoldOpens = true;
        var warming = scripted.Pool.WarmUpAsync(TestContext.Current.CancellationToken);
        await scripted.Source.PendingOpensReachAsync(1);
        var rent = scripted.BeginRent();

        scripted.Source.CompleteNextOpen();

        using var lease = await rent;
        Assert.False(warming.IsCompleted);
    }

    [Fact]
    public async Task WarmUpAsync_OpensKeepFailing_ThrowsTheErrorWhenItsBudgetIsOver()
    {
        await using var scripted = ScriptedPool.Create(options => options.MinSize = 1);
        var refusal = new NpgsqlException("refused");
        scripted.Source.FailOpensWith = refusal;
        var warming = scripted.Pool.WarmUpAsync(TestContext.Current.CancellationToken);

        await Eventually.True(
            () =>
            {
                scripted.Tick();
                return warming.IsCompleted;
            },
            "warm-up gives up");

        Assert.Same(refusal, await Assert.ThrowsAsync<NpgsqlException>(() => warming));
        Assert.True(scripted.Clock.GetTimestamp() >= TimeSpan.FromSeconds(5).Ticks);
    }

    [Fact]
    public async Task Maintenance_TheMinimumCannotBeOpened_TriesLessAndLessOftenAndRecovers()
    {
        await using var scripted = ScriptedPool.Create(options => options.MinSize = 1);
        scripted.Source.FailOpensWith = OpenErrors.ForGood();

        for (var second = 0; second < 60; second++)
        {
            for (var tick = 0; tick < 4; tick++)
            {
                scripted.Tick();
                await Eventually.True(() => FailuresLogged(scripted) == scripted.Source.Opens && scripted.Snapshot.Opening == 0, "the attempt is over");
            }
        }

        Assert.InRange(scripted.Source.Opens, 7, 10);
        scripted.Source.FailOpensWith = null;
        scripted.Tick(30 * 4);
        await scripted.UntilAsync(pool => pool.Idle == 1);
    }

    [Fact]
    [Trait("Conformance", "58")]
    public async Task Maintenance_MoreIdleThanEverNeeded_RetiresThemDownToTheMinimum()
    {
        await using var scripted = ScriptedPool.Create(options => (options.MinSize, options.IdleTimeout) = (2, TimeSpan.FromMinutes(1)));
        await scripted.FillAsync(6);

        scripted.Clock.Advance(TimeSpan.FromSeconds(60));
        Assert.Equal(6, scripted.Source.Alive);
        scripted.Clock.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal(2, scripted.Source.Alive);
        scripted.Clock.Advance(TimeSpan.FromMinutes(10));

        Assert.Equal((2, 2), (scripted.Source.Alive, scripted.Snapshot.Idle));
        Assert.Equal(6, scripted.Source.Opens);
    }

    [Fact]
    [Trait("Conformance", "59")]
    public async Task Maintenance_ASpikeWithinTheWindow_KeepsTheCapacityItNeeded()
    {
        await using var scripted = ScriptedPool.Create(options => options.IdleTimeout = TimeSpan.FromMinutes(1));
        await scripted.FillAsync(6);

        for (var minute = 0; minute < 5; minute++)
        {
            scripted.Clock.Advance(TimeSpan.FromSeconds(50));
            var spike = await scripted.RentManyAsync(5);
            scripted.Tick();
            foreach (var lease in spike)
            {
                await lease.DisposeAsync();
            }
        }

        Assert.Equal(5, scripted.Source.Alive);
    }

    [Fact]
    [Trait("Conformance", "60")]
    public async Task Maintenance_ConnectionsInUse_AreNeverPruned()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(4, options => options.IdleTimeout = TimeSpan.FromMinutes(1));
        await using var disposal = scripted;
        await leases[0].DisposeAsync();

        scripted.Clock.Advance(TimeSpan.FromMinutes(5));

        Assert.Equal((3, 3), (scripted.Source.Alive, scripted.Snapshot.Leased));
        Assert.All(leases[1..], lease => Assert.Equal(System.Data.ConnectionState.Open, scripted.Source.StateOf(lease.Connection)));
    }

    [Fact]
    [Trait("Conformance", "6")]
    [Trait("Conformance", "48")]
    public async Task Maintenance_ALeaseComesBackBroken_RestoresTheMinimumWithoutOvershoot()
    {
        await using var scripted = ScriptedPool.Create(options => options.MinSize = 3);
        await scripted.Pool.WarmUpAsync(TestContext.Current.CancellationToken);
        var lease = await scripted.BeginRent();

        scripted.Source.Break(lease.Connection);
        await lease.DisposeAsync();
        scripted.Tick();

        await Eventually.True(() => scripted.Source.Alive == 3, "three connections exist again", TimeSpan.FromSeconds(2));
        await scripted.UntilAsync(pool => pool.Idle == 3);
        Assert.Equal(3, scripted.Source.PeakAlive);
    }

    [Fact]
    [Trait("Conformance", "58")]
    public async Task Maintenance_ConnectionsWereNeededOnceLongAgo_RetiresThemAllTheSame()
    {
        await using var scripted = ScriptedPool.Create(options => options.IdleTimeout = TimeSpan.FromMinutes(1));
        var leases = await scripted.RentManyAsync(5);
        scripted.Tick();
        foreach (var lease in leases)
        {
            await lease.DisposeAsync();
        }

        scripted.Clock.Advance(TimeSpan.FromMinutes(3));

        Assert.Equal(0, scripted.Source.Alive);
    }

    [Fact]
    [Trait("Conformance", "54")]
    public async Task RentAsync_TheIdleConnectionHasOutlivedItsLifetime_IsServedByAFreshOne()
    {
        await using var scripted = ScriptedPool.Create(options => options.MaxLifetime = TimeSpan.FromMinutes(10));
        await scripted.FillAsync(1);

        scripted.Clock.Advance(TimeSpan.FromMinutes(11));
        using var lease = await scripted.BeginRent();

        Assert.Equal(2, scripted.Source.NumberOf(lease.Connection));
        Assert.Equal(1, scripted.Source.Closed);
    }

    [Fact]
    [Trait("Conformance", "99")]
    public async Task Maintenance_TheCloseOfAConnectionItLookedAtThrows_LosesNoPlace()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(1);
        await using var disposal = scripted;
        scripted.Source.SetState(leases[0].Connection, System.Data.ConnectionState.Executing);
        await leases[0].DisposeAsync();

        scripted.Source.FailNextCloseWith(new NpgsqlException("close"));
        scripted.Tick();

        Assert.Equal(0, scripted.Snapshot.Leased);
    }

    [Fact]
    [Trait("Conformance", "55")]
    public async Task Dispose_TheLeasedConnectionHasOutlivedItsLifetime_IsRetiredOnReturn()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(1, options => options.MaxLifetime = TimeSpan.FromMinutes(10));
        await using var disposal = scripted;

        scripted.Clock.Advance(TimeSpan.FromMinutes(11));
        Assert.Equal(1, scripted.Source.Alive);
        await leases[0].DisposeAsync();

        Assert.Equal((0, 0), (scripted.Source.Alive, scripted.Snapshot.Idle));
    }

    [Fact]
    [Trait("Conformance", "56")]
    public async Task Maintenance_ManyOpenedAtOnce_AreRetiredSpreadOverATenthAroundTheirLifetime()
    {
        await using var scripted = ScriptedPool.Create(options =>
            (options.MaxSize, options.MaxLifetime, options.IdleTimeout) = (100, TimeSpan.FromMinutes(10), Timeout.InfiniteTimeSpan));
        await scripted.FillAsync(100);

        scripted.Clock.Advance(TimeSpan.FromMinutes(9) - TimeSpan.FromSeconds(1));
        Assert.Equal(100, scripted.Source.Alive);
        scripted.Clock.Advance(TimeSpan.FromMinutes(1));
        Assert.InRange(scripted.Source.Alive, 20, 80);
        scripted.Clock.Advance(TimeSpan.FromMinutes(1) + TimeSpan.FromSeconds(2));

        Assert.Equal(0, scripted.Source.Alive);
    }

    private static int FailuresLogged(ScriptedPool scripted) => scripted.Log.Entries.Count(entry => entry.EventId.Id == FillFailed);

    /// <summary>Where a grower had a connection in hand for an instant, another may have taken its place for empty: then it is at rest, and under no place. Every later grower would find it, put it back, and add nothing.</summary>
    [Fact]
    public async Task Maintenance_AConnectionIsAtRestUnderNoPlace_GrowsToMinSizeAllTheSame()
    {
        await using var scripted = ScriptedPool.Create(options => (options.MinSize, options.MaxSize, options.WatchServer) = (1, 4, false));
        await scripted.FillAsync(2);
        var inHand = scripted.Source.TryTakeEnlisting()!;
        foreach (var lease in await scripted.RentManyAsync(2))
        {
            lease.Dispose();
        }

        scripted.Source.Close(inHand);
        Assert.Equal((2, 3), (scripted.Snapshot.Idle, scripted.Source.AtRest));

        scripted.Pool.Reconfigure(options => options.MinSize = 4);

        // A sweep beside the open that finds it may leave a place with nothing under it; whoever looks there next finds that out.
        await Eventually.True(
            () =>
            {
                scripted.Tick();
                return scripted.Snapshot is { Opening: 0, Idle: 4 } && scripted.Source.AtRest == 4;
            },
            "four are idle");
    }
}
