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

    /// <summary>Work gets done all the while, a little of it: what is queued behind it waits for seconds.</summary>
    [Fact]
    public async Task ThreadPoolStarvation_WithSomeProgress_IsNotPutDownToTheHolders()
    {
        await using var scene = await Scene.CreateAsync(2);
        scene.Start(2, service => service.QuoteAsync());
        await scene.HeldAsync(2, holder => holder.Activity == LeaseActivity.Idle);
        using var isOver = new ManualResetEventSlim();
        Exception? error = null;
        var renter = new Thread(() =>
        {
            error = Record.Exception(() => scene.Pool.Rent(new RentOptions { AcquireTimeout = TimeSpan.FromSeconds(3) }));
            isOver.Set();
        });
        renter.Start();

        // Each makes room for the next after ten milliseconds; enough of them for as many threads as there may be by now.
        var work = Enumerable.Range(0, 60_000).Select(_ => Task.Factory.StartNew(
            () => isOver.Wait(TimeSpan.FromMilliseconds(10), Cancellation), Cancellation, TaskCreationOptions.PreferFairness, TaskScheduler.Default)).ToArray();
        renter.Join();
        await Task.WhenAll(work);

        var exhausted = Assert.IsType<PoolExhaustedException>(error);
        Assert.True(exhausted.Diagnosis.Verdict == PoolVerdict.ThreadPoolStarvation, $"{exhausted.Message} {scene.Pool.Parts.Vitals.Threads()}");
        Assert.Contains("a work item of the pool's own has waited for", exhausted.Diagnosis.Evidence[0].Text, StringComparison.Ordinal);
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
