using SafePool.TestKit;
using SafePool.Time;
using Xunit;

namespace SafePool.Tests.Connections;

public sealed class OwnThreadsTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Run_OneAfterTheOther_RunsThemOnOneThreadThatIsNoThreadPools()
    {
        var threads = new OwnThreads(keepFor: TimeSpan.FromMinutes(1));
        var first = await RunAsync(threads, () => Thread.CurrentThread);
        Assert.False(first.IsThreadPoolThread);

        // It parks itself only after its task has ended.
        await Eventually.True(async () => await RunAsync(threads, () => Thread.CurrentThread) == first, "the thread is used again");
    }

    /// <summary>None waits for another: some of them may wait for a server that never answers.</summary>
    [Fact]
    public async Task Run_ManyThatBlock_RunsAllAtOnce()
    {
        const int Many = 20;
        var threads = new OwnThreads(keepFor: TimeSpan.FromMinutes(1));
        for (var round = 0; round < 3; round++)
        {
            using var all = new Barrier(Many);
            var met = await Task.WhenAll(Enumerable.Range(0, Many).Select(_ => RunAsync(threads, () => all.SignalAndWait(TimeSpan.FromSeconds(30), Cancellation))));

            Assert.All(met, Assert.True);
        }
    }

    [Fact]
    public async Task Run_NothingForAWhile_ItsThreadEndsAndTheNextGetsAnother()
    {
        var threads = new OwnThreads(keepFor: TimeSpan.FromMilliseconds(1));
        var first = await RunAsync(threads, () => Thread.CurrentThread);

        await Eventually.True(() => !first.IsAlive, "the thread has ended");
        Assert.NotSame(first, await RunAsync(threads, () => Thread.CurrentThread));
    }

    /// <summary>Threads that lose patience in the very moment in which they are given something must not lose it.</summary>
    [Fact]
    public async Task Run_WhileThreadsLosePatience_LosesNothing()
    {
        var threads = new OwnThreads(keepFor: TimeSpan.FromMilliseconds(1));
        var ran = 0;
        await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => Task.Run(
            async () =>
            {
                for (var i = 0; i < 300; i++)
                {
                    await RunAsync(threads, () => Interlocked.Increment(ref ran));
                    await Task.Delay(TimeSpan.FromMilliseconds(i % 3), TimeProvider.System, Cancellation);
                }
            },
            Cancellation)));

        Assert.Equal(8 * 300, ran);
    }

    /// <summary>What follows needs no thread of the pool, all of which may wait for it.</summary>
    [Fact]
    public async Task RunAsync_WhatFollows_GoesOnOnTheSameThread()
    {
        var goOn = new ManualResetEventSlim();
        var running = OwnThread.RunAsync(() =>
        {
            goOn.Wait(Cancellation);
            return Thread.CurrentThread;
        });
        var following = FollowAsync();
        goOn.Set();

        Assert.True(await following);

        async Task<bool> FollowAsync() => await running.ConfigureAwait(false) == Thread.CurrentThread;
    }

    [Fact]
    public async Task RunAsync_TheWorkThrows_FailsTheTaskAndNothingElse()
    {
        await Assert.ThrowsAsync<TimeoutException>(() => OwnThread.RunAsync(() => throw new TimeoutException()));

        Assert.Equal(1, await OwnThread.RunAsync(() => 1));
    }

    private static Task<T> RunAsync<T>(OwnThreads threads, Func<T> work)
    {
        var ended = new TaskCompletionSource<T>(TaskCreationOptions.RunContinuationsAsynchronously);
        threads.Run(() => ended.SetResult(work()));
        return ended.Task;
    }
}
