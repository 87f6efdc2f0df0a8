using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Pool;

public sealed class ScriptedPoolTests
{
    [Fact]
    [Trait("Conformance", "2")]
    public async Task Create_Defaults_RentsReturnsAndRentsTheSameConnectionAgain()
    {
        await using var scripted = ScriptedPool.Create();

        var first = await scripted.BeginRent();
        var number = scripted.Source.NumberOf(first.Connection);
        await first.DisposeAsync();
        using var second = await scripted.BeginRent();

        Assert.Equal(number, scripted.Source.NumberOf(second.Connection));
        Assert.Equal(1, scripted.Source.Opens);
        Assert.Equal(1, scripted.Source.Alive);
    }

    [Fact]
    public async Task HoldOpens_TwoRents_AreServedInTheOrderTheTestLetsThemGo()
    {
        await using var scripted = ScriptedPool.Create();
        scripted.Source.HoldOpens = true;
        var first = scripted.BeginRent();
        var second = scripted.BeginRent();
        await scripted.Source.PendingOpensReachAsync(2);

        scripted.Source.CompleteNextOpen();
        using var lease = await first;
        scripted.Source.FailNextOpen(new InvalidOperationException("no"));

        await Assert.ThrowsAsync<InvalidOperationException>(() => second);
        Assert.Equal(2, scripted.Source.PeakConcurrentOpens);
        Assert.Equal(1, scripted.Source.Alive);
    }

    [Fact]
    public async Task Dispose_WithAnIdleAndALeasedConnection_EndsBothWhenTheyAreBack()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(2);
        await leases[0].DisposeAsync();

        await scripted.DisposeAsync();
        Assert.Equal(1, scripted.Source.Alive);
        await leases[1].DisposeAsync();

        Assert.Equal(0, scripted.Source.Alive);
        Assert.Equal(2, scripted.Source.Closed);
        Assert.Equal(2, scripted.Source.PeakAlive);
    }
}
