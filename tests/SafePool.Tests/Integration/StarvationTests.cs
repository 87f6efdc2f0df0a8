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

    /// <summary>The blocking return of a lease that leaves something to say to the server, from far more tasks than the pool has threads.</summary>
    [Theory]
    [InlineData("transaction", SessionReset.Full)]
    [InlineData("nothing", SessionReset.Strict)]
    [Trait("Conformance", "30")]
    public async Task Dispose_WithWordsForTheServer_FromFarMoreTasksThanThePoolHasThreads_KeepsEveryConnection(string leftOpen, SessionReset reset)
    {
        await using var server = await PoolOnServer.CreateAsync(
            options => (options.MaxSize, options.Reset, options.AcquireTimeout) = (2, reset, TimeSpan.FromSeconds(20)));

        var tasks = Enumerable.Range(0, 20 * Environment.ProcessorCount).Select(_ => Begin(() =>
        {
            using var lease = server.Pool.Rent();
            LeaveOpen(lease, leftOpen);
        }));
        await Task.WhenAll(tasks);

        Assert.DoesNotContain(server.Logs.Entries, entry => entry.EventId.Id == 112);
        Assert.Equal((0, 0L, 0L), (server.Snapshot.Leased, server.Snapshot.TotalTimeouts, server.Snapshot.TotalClosed));
    }

    [Theory]
    [InlineData("transaction", SessionReset.Full, true)]
    [InlineData("BEGIN", SessionReset.Full, false)]
    [InlineData("nothing", SessionReset.Strict, true)]
    [InlineData("transaction", SessionReset.Strict, true)]
    [Trait("Conformance", "30")]
    [Trait("Conformance", "73")]
    public async Task Dispose_WithWordsForTheServer_WhileEveryThreadOfThePoolIsBlocked_EndsAndThePlaceComesBack(
        string leftOpen, SessionReset reset, bool atOnce)
    {
        await using var server = await PoolOnServer.CreateAsync(options => (options.MaxSize, options.Reset) = (1, reset));
        using var release = new ManualResetEventSlim();
        var entered = 0;
        var blockers = Enumerable.Range(0, 500).Select(_ => Begin(() =>
        {
            Interlocked.Increment(ref entered);
            release.Wait();
        })).ToArray();

        Exception? error = null;
        var ended = false;
        var stillBlocked = false;
        PoolSnapshot? starved = null;
        var director = new Thread(() =>
        {
            error = Record.Exception(() =>
            {
                var lease = server.Pool.Rent();
                LeaveOpen(lease, leftOpen);
                var returning = new Thread(lease.Dispose) { IsBackground = true };
                returning.Start();
                ended = returning.Join(TimeSpan.FromSeconds(9));
                starved = server.Snapshot;
            });
            stillBlocked = Volatile.Read(ref entered) < blockers.Length;
            release.Set();
        });
        director.Start();
        await Task.WhenAll(blockers);
        director.Join();

        Assert.Null(error);
        Assert.True(ended, "the return did not end");
        Assert.True(stillBlocked, "the thread pool was not starved");
        Assert.True(starved!.Idle == 1 || !atOnce, $"The connection was not kept: {starved}");
        await Eventually.True(() => server.Snapshot is { Leased: 0, Quarantined: 0 }, "the place is back");
        await using var next = await server.Pool.RentAsync(Cancellation);
        Assert.Equal(7, await next.AskAsync<int>("SELECT 7"));
    }

    /// <summary>In the queue that all threads share, as requests come in: what is queued later has to wait for it.</summary>
    private static Task Begin(Action work)
        => Task.Factory.StartNew(work, Cancellation, TaskCreationOptions.PreferFairness, TaskScheduler.Default);

    private static void LeaveOpen(Lease lease, string transaction)
    {
        if (transaction == "transaction")
        {
            _ = lease.BeginTransaction();
        }
        else if (transaction == "BEGIN")
        {
            lease.Do("BEGIN");
        }

        // One statement at a time: several make Npgsql send asynchronously, and then even a blocking read waits for the thread pool.
        lease.Do("SELECT 1");
    }
}
