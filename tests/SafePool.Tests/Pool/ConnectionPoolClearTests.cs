using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Pool;

public sealed class ConnectionPoolClearTests
{
    [Fact]
    [Trait("Conformance", "62")]
    public async Task Clear_IdleAndLeased_ClosesTheFirstNowAndTheOtherWhenItComesBack()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(3);
        await using var disposal = scripted;
        await leases[0].DisposeAsync();
        await leases[1].DisposeAsync();

        scripted.Pool.Clear();
        Assert.Equal((1, 0), (scripted.Source.Alive, scripted.Snapshot.Idle));
        await leases[2].DisposeAsync();

        Assert.Equal((0, 0), (scripted.Source.Alive, scripted.Snapshot.Idle));
        Assert.Equal(3, scripted.Snapshot.TotalClosed);
    }

    [Fact]
    [Trait("Conformance", "62")]
    public async Task Clear_ConnectionsOpenedAfterwards_AreKept()
    {
        await using var scripted = ScriptedPool.Create();
        scripted.Pool.Clear();

        await scripted.FillAsync(2);
        scripted.Tick();

        Assert.Equal((2, 2), (scripted.Source.Alive, scripted.Snapshot.Idle));
    }

    [Fact]
    [Trait("Conformance", "63")]
    public async Task Clear_CallersWait_TheyGetNewConnectionsWhenTheOldComeBack()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(1);
        await using var disposal = scripted;
        var waiting = scripted.BeginRent();

        scripted.Pool.Clear();
        await leases[0].DisposeAsync();

        using var lease = await waiting;
        Assert.Equal(2, scripted.Source.NumberOf(lease.Connection));
        Assert.Equal(1, scripted.Source.Alive);
    }

    [Fact]
    [Trait("Conformance", "64")]
    public async Task Clear_WhileOpening_RetiresThatConnectionAndOpensAnotherForTheWaiter()
    {
        await using var scripted = ScriptedPool.Create();
        scripted.Source.HoldOpens = true;
        var waiting = scripted.BeginRent();
        await scripted.Source.PendingOpensReachAsync(1);

        scripted.Pool.Clear();
        scripted.Source.CompleteNextOpen();
        await scripted.Source.PendingOpensReachAsync(1);
        scripted.Source.CompleteNextOpen();

        using var lease = await waiting;
        Assert.Equal(2, scripted.Source.NumberOf(lease.Connection));
        Assert.Equal((1, 1), (scripted.Source.Alive, scripted.Source.Closed));
    }

    [Fact]
    [Trait("Conformance", "63")]
    [Trait("Conformance", "64")]
    public async Task Clear_InTheMomentInWhichAnOpenBegins_TheWaiterIsServedAllTheSame()
    {
        await using var scripted = ScriptedPool.Create();
        scripted.Source.BeforeNextOpen(scripted.Pool.Clear);

        var waiting = scripted.BeginRent();

        await Eventually.True(() => waiting.IsCompleted, "the caller is served", TimeSpan.FromSeconds(2));
        using var lease = await waiting;
        Assert.InRange(scripted.Snapshot.TotalClosed, 0, scripted.Source.Closed);
    }

    [Fact]
    [Trait("Conformance", "6")]
    public async Task Clear_WithAMinimum_IsRefilledToItWithoutOvershoot()
    {
        await using var scripted = ScriptedPool.Create(options => options.MinSize = 3);
        scripted.Tick();
        await scripted.UntilAsync(pool => pool.Idle == 3);

        scripted.Pool.Clear();
        scripted.Tick();

        await scripted.UntilAsync(pool => pool.Idle == 3);
        Assert.Equal(3, scripted.Source.Alive);
        Assert.Equal(3, scripted.Source.PeakAlive);
    }
}
