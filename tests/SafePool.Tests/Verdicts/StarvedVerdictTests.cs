using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.Verdicts;

/// <summary>Blocks the thread pool of the whole process, so it runs when nothing else does.</summary>
[Collection(nameof(Alone))]
public sealed class StarvedVerdictTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task ThreadPoolStarvation_EveryThreadIsBlocked_SaysWhatWaits()
    {
        await using var scene = await Scene.CreateAsync(2);
        scene.Start(2, service => service.QuoteAsync());
        await scene.HeldAsync(2, holder => holder.Activity == LeaseActivity.Idle);

        var error = await FailWhileThreadsAreBlockedAsync(scene);

        Assert.Equal((PoolVerdict.ThreadPoolStarvation, 2), (error.Diagnosis.Verdict, error.Diagnosis.Evidence[0].Places));
        Assert.Matches(@"^\d+ work items wait for one of \d+ threads, and \d+ were done in the last \d\.\d s: ", error.Diagnosis.Evidence[0].Text);
        VerdictPage.Shows(error);
    }

    /// <summary>Which of them came first nobody knows, so both are told: threads that block in a rent are what a leak leads to.</summary>
    [Fact]
    public async Task LeakAndThreadPoolStarvation_EveryLeaseIsForgotten_NamesBothTheLeakFirst()
    {
        await using var scene = await Scene.CreateAsync(2, options => options.Leaks.Threshold = TimeSpan.FromSeconds(1));
        await scene.RunAsync(2, service => service.LoadAsync());

        var error = await FailWhileThreadsAreBlockedAsync(scene);

        Assert.Equal(
            [(PoolVerdict.Leak, 2), (PoolVerdict.ThreadPoolStarvation, 0)],
            error.Diagnosis.Evidence.Select(evidence => (evidence.Verdict, evidence.Places)));
        Assert.Contains(" Besides, thread pool starvation: ", error.Message, StringComparison.Ordinal);
    }

    private static async Task<PoolExhaustedException> FailWhileThreadsAreBlockedAsync(Scene scene)
    {
        using var release = new ManualResetEventSlim();

        // More than the thread pool starts threads for meanwhile, so whatever is queued behind them has to wait.
        var blockers = Enumerable.Range(0, 500).Select(_ => Task.Run(release.Wait, Cancellation)).ToArray();
        Exception? error = null;
        var renter = new Thread(() =>
        {
            error = Record.Exception(() => scene.Pool.Rent(new RentOptions { AcquireTimeout = TimeSpan.FromSeconds(3) }));
            release.Set();
        });
        renter.Start();
        await Task.WhenAll(blockers);
        renter.Join();
        return Assert.IsType<PoolExhaustedException>(error);
    }
}
