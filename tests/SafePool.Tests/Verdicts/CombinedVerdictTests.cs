using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.Verdicts;

/// <summary>Pools that run dry for two reasons: the one with more places is the verdict, the other one is told besides.</summary>
public sealed class CombinedVerdictTests
{
    [Fact]
    public async Task LeakAndSlowQueries_MoreLeaks_NamesBothTheLeakFirst()
    {
        await using var scene = await Scene.CreateAsync(5, options => options.Leaks.Threshold = TimeSpan.FromSeconds(1));
        scene.Start(2, service => service.ReportAsync());
        await scene.BusyAsync(2);
        await scene.RunAsync(3, service => service.LoadAsync());

        var error = await scene.FailAsync<PoolExhaustedException>();

        AssertBoth(error, (PoolVerdict.Leak, 3, nameof(OrderService.LoadAsync)), (PoolVerdict.SlowQueries, 2, nameof(OrderService.ReportAsync)));
        Assert.Contains(" Besides, slow queries: 2 leases were rented at", error.Message, StringComparison.Ordinal);
        VerdictPage.Shows(error);
    }

    [Fact]
    public async Task LeakAndIdleInTransaction_MoreTransactions_NamesBothTheTransactionsFirst()
    {
        await using var scene = await Scene.CreateAsync(5, options => options.Leaks.Threshold = TimeSpan.FromSeconds(1));
        scene.Start(3, service => service.BookAsync());
        await scene.HeldAsync(3, holder => holder.Activity == LeaseActivity.IdleInTransaction);
        await scene.RunAsync(2, service => service.LoadAsync());

        var error = await scene.FailAsync<PoolExhaustedException>();

        AssertBoth(error, (PoolVerdict.IdleHolders, 3, nameof(OrderService.BookAsync)), (PoolVerdict.Leak, 2, nameof(OrderService.LoadAsync)));
        Assert.Contains(" Besides, leak: 2 leases were rented at", error.Message, StringComparison.Ordinal);
        VerdictPage.Shows(error);
    }

    [Fact]
    public async Task ServerFullAndLeak_MorePlacesWithoutAConnection_NamesBothTheServerFirst()
    {
        await using var full = await FullServer.StartAsync(room: 2);
        await using var scene = await Scene.CreateAsync(
            6, options => options.Leaks.Threshold = TimeSpan.FromSeconds(1), server: full.ConnectionString);
        await scene.RunAsync(2, service => service.LoadAsync());

        var error = await scene.FailAsync<PoolExhaustedException>();

        Assert.Equal((PoolVerdict.ServerFull, 4), (error.Diagnosis.Verdict, error.Diagnosis.Evidence[0].Places));
        Assert.Equal((PoolVerdict.Leak, 2), (error.Diagnosis.Evidence[1].Verdict, error.Diagnosis.Evidence[1].Places));
        Assert.Contains($" Besides, leak: 2 leases were rented at {Sites.Of(nameof(OrderService.LoadAsync))}", error.Message, StringComparison.Ordinal);
        VerdictPage.Shows(error);
    }

    private static void AssertBoth(
        PoolExhaustedException error, (PoolVerdict Verdict, int Places, string Script) first, (PoolVerdict Verdict, int Places, string Script) second)
    {
        (PoolVerdict Verdict, int Places, string Script)[] expected = [first, second];
        Assert.Equal(
            expected.Select(cause => (cause.Verdict, cause.Places)),
            error.Diagnosis.Evidence.Select(evidence => (evidence.Verdict, evidence.Places)));
        Assert.All(
            expected.Zip(error.Diagnosis.Evidence),
            pair => Assert.Contains(Sites.Of(pair.First.Script), pair.Second.Text, StringComparison.Ordinal));
    }
}
