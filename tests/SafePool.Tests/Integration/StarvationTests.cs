using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Integration;

[CollectionDefinition(nameof(Alone), DisableParallelization = true)]
public sealed class Alone;

/// <summary>Everything here blocks the thread pool of the whole process, so it runs when nothing else does.</summary>
[Collection(nameof(Alone))]
public sealed class StarvationTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    [Trait("Conformance", "29")]
    [Trait("Conformance", "30")]
    public async Task Rent_FromFarMoreTasksThanThePoolHasThreads_ServesAll()
    {
        await using var server = await PoolOnServer.CreateAsync(
            options => (options.MaxSize, options.AcquireTimeout) = (2, TimeSpan.FromSeconds(20)));

        var tasks = Enumerable.Range(0, 20 * Environment.ProcessorCount).Select(i => Task.Run(
            () =>
            {
                using var lease = server.Pool.Rent();
                Assert.Equal(i, lease.Ask<int>($"SELECT {i}"));
            },
            Cancellation));
        await Task.WhenAll(tasks);

        Assert.Equal((0, 0L), (server.Snapshot.Leased, server.Snapshot.TotalTimeouts));
    }

    [Fact]
    [Trait("Conformance", "30")]
    public async Task Rent_WhileEveryThreadOfThePoolIsBlocked_OpensQueuesAndServes()
    {
        await using var server = await PoolOnServer.CreateAsync(
            options => (options.MaxSize, options.AcquireTimeout) = (2, TimeSpan.FromSeconds(20)));
        using var release = new ManualResetEventSlim();
        var entered = 0;

        // More than the pool starts threads for meanwhile, so whatever is queued behind them has to wait.
        var blockers = Enumerable.Range(0, 500).Select(_ => Task.Run(
            () =>
            {
                Interlocked.Increment(ref entered);
                release.Wait();
            },
            Cancellation)).ToArray();

        var served = 0;
        var stillBlocked = false;
        var director = new Thread(() =>
        {
            var renters = Enumerable.Range(0, 8).Select(_ => new Thread(() =>
            {
                for (var i = 0; i < 5; i++)
                {
                    using var lease = server.Pool.Rent();
                    lease.Do("SELECT pg_sleep(0.001)");
                    Interlocked.Increment(ref served);
                }
            })).ToArray();
            Array.ForEach(renters, renter => renter.Start());
            Array.ForEach(renters, renter => renter.Join());
            stillBlocked = Volatile.Read(ref entered) < blockers.Length;
            release.Set();
        });
        director.Start();
        await Task.WhenAll(blockers);
        director.Join();

        Assert.Equal(40, served);
        Assert.True(stillBlocked, "the thread pool was not starved");
        Assert.Equal(0, server.Snapshot.Leased);
        Assert.InRange(server.Snapshot.TotalOpened, 1, 2); // The second open may be under way still.
    }

    [Fact]
    [Trait("Conformance", "30")]
    public async Task Rent_TimesOutWhileEveryThreadOfThePoolIsBlocked_FailsAfterItsBudgetAndNotLater()
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1);
        await using var holder = await server.Pool.RentAsync(Cancellation);
        using var release = new ManualResetEventSlim();
        var entered = 0;
        var blockers = Enumerable.Range(0, 500).Select(_ => Task.Run(
            () =>
            {
                Interlocked.Increment(ref entered);
                release.Wait();
            },
            Cancellation)).ToArray();

        Exception? error = null;
        var stillBlocked = false;
        var renter = new Thread(() =>
        {
            error = Record.Exception(() => server.Pool.Rent(new RentOptions { AcquireTimeout = TimeSpan.FromMilliseconds(300) }));
            stillBlocked = Volatile.Read(ref entered) < blockers.Length;
            release.Set();
        });
        renter.Start();
        await Task.WhenAll(blockers);
        renter.Join();

        Assert.IsType<PoolExhaustedException>(error);
        Assert.True(stillBlocked, "the thread pool was not starved");
    }
}
