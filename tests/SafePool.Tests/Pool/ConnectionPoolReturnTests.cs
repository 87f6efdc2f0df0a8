using System.Data;
using Npgsql;
using SafePool.Logging;
using SafePool.Options;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Pool;

public sealed class ConnectionPoolReturnTests(ITestOutputHelper output)
{
    [Fact]
    [Trait("Conformance", "33")]
    public async Task Dispose_Twice_ReturnsOnceAndLeavesTheNextLeaseAlone()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(1);
        await using var disposal = scripted;
        leases[0].Dispose();
        using var next = await scripted.BeginRent();

        leases[0].Dispose();
        await leases[0].DisposeAsync();

        Assert.Equal(ConnectionState.Open, scripted.Source.StateOf(next.Connection));
        Assert.Equal((1, 0), (scripted.Snapshot.Leased, scripted.Snapshot.Idle));
    }

    [Fact]
    [Trait("Conformance", "34")]
    public async Task Dispose_FromSeveralThreadsAtOnce_ReturnsOnce()
    {
        const int Threads = 3;
        var seed = Random.Shared.Next();
        output.WriteLine($"seed {seed}");
        var random = new Random(seed);
        await using var scripted = ScriptedPool.Create(options => options.MaxSize = 2);
        using var barrier = new Barrier(Threads + 1);
        var lease = default(Lease);
        var heads = new int[Threads];
        var threads = Enumerable.Range(0, Threads).Select(index => new Thread(() => DisposeAgainAndAgain(index)) { IsBackground = true }).ToList();
        threads.ForEach(thread => thread.Start());

        for (var round = 0; round < 1_000; round++)
        {
            lease = await scripted.BeginRent();
            Array.ForEach([.. Enumerable.Range(0, Threads)], index => heads[index] = random.Next(50));
            barrier.SignalAndWait(TestContext.Current.CancellationToken);
            barrier.SignalAndWait(TestContext.Current.CancellationToken);
            Assert.Equal((0, 1), (scripted.Snapshot.Leased, scripted.Snapshot.Idle));
        }

        threads.ForEach(thread => thread.Join());
        Assert.Equal(1, scripted.Source.AtRest);

        void DisposeAgainAndAgain(int index)
        {
            for (var round = 0; round < 1_000; round++)
            {
                barrier.SignalAndWait();
                Thread.SpinWait(heads[index]);
                lease.Dispose();
                barrier.SignalAndWait();
            }
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    [Trait("Conformance", "99")]
    [Trait("Conformance", "39")]
    public async Task Dispose_TheCloseThrows_CostsTheConnectionAndNotThePlace(bool blocking)
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(1);
        await using var disposal = scripted;
        var waiting = scripted.BeginRent();
        scripted.Source.FailNextCloseWith(new InvalidOperationException("close"));

        await ReturnAsync(leases[0], blocking);

        using var lease = await waiting;
        Assert.Equal(2, scripted.Source.NumberOf(lease.Connection));
        Assert.Equal(1, scripted.Source.Alive);
        Assert.Equal(1, scripted.Snapshot.TotalClosed);
        Assert.Contains(scripted.Log.Entries, entry => entry.EventId.Id == 114);
    }

    [Fact]
    [Trait("Conformance", "44")]
    [Trait("Conformance", "99")]
    public async Task LeaseReturning_Throws_RetiresTheConnectionAndTheCallerSeesNothing()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(
            1, options => options.LeaseReturning = (_, _) => throw new InvalidTimeZoneException("hook"));
        await using var disposal = scripted;

        await leases[0].DisposeAsync();

        Assert.Equal((0, 0), (scripted.Snapshot.Leased, scripted.Snapshot.Idle));
        Assert.Equal(0, scripted.Source.Alive);
        Assert.Contains(scripted.Log.Entries, entry => entry.Exception is InvalidTimeZoneException);
    }

    [Fact]
    [Trait("Conformance", "99")]
    public async Task LeaseRented_Throws_ReachesTheCallerAndRetiresTheConnection()
    {
        await using var scripted = ScriptedPool.Create(options =>
        {
            options.MaxSize = 1;
            options.LeaseRented = (_, _) => throw new InvalidTimeZoneException("hook");
        });

        await Assert.ThrowsAsync<InvalidTimeZoneException>(() => scripted.BeginRent());
        Assert.Throws<InvalidTimeZoneException>(() => scripted.Pool.Rent());

        Assert.Equal((0, 0), (scripted.Snapshot.Leased, scripted.Source.Alive));
    }

    [Fact]
    [Trait("Conformance", "100")]
    public async Task Dispose_TheLoggerThrows_LosesNothing()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(1);
        await using var disposal = scripted;
        scripted.Log.ThrowOnLog = true;
        scripted.Source.FailNextCloseWith(new InvalidOperationException("close"));

        await leases[0].DisposeAsync();
        using var lease = await scripted.BeginRent();

        Assert.Equal(1, scripted.Snapshot.Leased);
    }

    [Fact]
    [Trait("Conformance", "48")]
    public async Task Dispose_TheConnectionIsBroken_GivesTheWaiterAFreshOne()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(1);
        await using var disposal = scripted;
        var waiting = scripted.BeginRent();

        scripted.Source.Break(leases[0].Connection);
        await leases[0].DisposeAsync();

        using var lease = await waiting;
        Assert.Equal(2, scripted.Source.NumberOf(lease.Connection));
        Assert.Contains(scripted.Log.Entries, entry => entry.EventId.Id == 125);
    }

    [Theory]
    [InlineData(ConnectionState.Executing)]
    [InlineData(ConnectionState.Fetching)]
    [Trait("Conformance", "40")]
    public async Task DisposeAsync_SomethingStillRuns_CancelsItFirstAndNeverClosesUnderIt(ConnectionState state)
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(1);
        await using var disposal = scripted;
        scripted.Source.SetState(leases[0].Connection, state);

        await leases[0].DisposeAsync();

        Assert.Equal(1, scripted.Source.Cancels);
        Assert.Equal(0, scripted.Source.ClosedWhileExecuting);
        Assert.Equal((0, 1), (scripted.Snapshot.Leased, scripted.Snapshot.Idle));
        using var next = await scripted.BeginRent();
        Assert.Contains(";", scripted.Source.Executed);
    }

    [Fact]
    [Trait("Conformance", "73")]
    public async Task DisposeAsync_TheCloseHangs_QuarantinesThePlaceUntilTheConnectionIsGone()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(2);
        await using var disposal = scripted;
        scripted.Source.HoldNextClose();
        var connection = leases[0].Connection;
        var returning = leases[0].DisposeAsync().AsTask();

        scripted.Clock.Advance(PoolSettings.ReturnPatience);
        await returning;
        Assert.Equal((1, 1), (scripted.Snapshot.Leased, scripted.Snapshot.Quarantined));
        Assert.Equal(1, scripted.Source.Terminated);
        await leases[1].DisposeAsync();
        using var other = await scripted.BeginRent();
        var waiting = scripted.BeginRent(Timeout.InfiniteTimeSpan);

        scripted.Source.Break(connection);
        scripted.Source.ReleaseClose();
        scripted.Tick();

        using var lease = await waiting;
        Assert.Equal((2, 0), (scripted.Snapshot.Leased, scripted.Snapshot.Quarantined));
        Assert.Equal(2, scripted.Source.Alive);
    }

    /// <summary>In real time: a thread that blocks must not wait for a clock that a test, or a starved thread pool, does not move.</summary>
    [Fact]
    [Trait("Conformance", "73")]
    public async Task Dispose_TheCloseHangs_EndsThoughTheClockStandsStillAndQuarantinesThePlace()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(1);
        await using var disposal = scripted;
        scripted.Source.HoldNextClose();

        await Task.Run(leases[0].Dispose, TestContext.Current.CancellationToken)
            .WaitAsync(TimeSpan.FromSeconds(9), TimeProvider.System, TestContext.Current.CancellationToken);

        Assert.Equal((0, 1), (scripted.Snapshot.Leased, scripted.Snapshot.Quarantined));
        scripted.Source.ReleaseClose();
        await scripted.UntilAsync(pool => pool.Quarantined == 0);

        // It came to rest after all, but was told to end: nobody gets it.
        using var lease = await scripted.BeginRent();
        Assert.Equal(2, scripted.Source.NumberOf(lease.Connection));
        Assert.Equal(1, scripted.Source.Alive);
    }

    [Fact]
    [Trait("Conformance", "73")]
    public async Task DisposeAsync_TheCommandNeverEnds_QuarantinesThePlaceAndGoesOn()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(1);
        await using var disposal = scripted;
        scripted.Source.CancelEndsCommands = false;
        scripted.Source.SetState(leases[0].Connection, ConnectionState.Executing);
        var connection = leases[0].Connection;
        var returning = leases[0].DisposeAsync().AsTask();

        await Eventually.True(
            () =>
            {
                scripted.Tick();
                return returning.IsCompleted;
            },
            "the return gives up");
        Assert.Equal((0, 1), (scripted.Snapshot.Leased, scripted.Snapshot.Quarantined));
        scripted.Source.Break(connection);
        await Eventually.True(
            () =>
            {
                scripted.Tick();
                return scripted.Snapshot.Quarantined == 0;
            },
            "the quarantine ends");

        using var lease = await scripted.BeginRent();
        Assert.Equal(0, scripted.Source.ClosedWhileExecuting);
    }

    /// <summary>However long it hangs: the place comes back, and nothing is settled twice when the close has ended after all.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task DisposeAsync_TheCloseNeverEnds_WritesTheConnectionOffWithinTheBound(bool comesToRest)
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(1);
        await using var disposal = scripted;
        scripted.Source.HoldNextClose();
        var connection = leases[0].Connection;
        var returning = leases[0].DisposeAsync().AsTask();
        scripted.Clock.Advance(PoolSettings.ReturnPatience);
        await returning;
        var waiting = scripted.BeginRent(Timeout.InfiniteTimeSpan);

        await AdvanceAsync(scripted, PoolSettings.QuarantineBound - TimeSpan.FromSeconds(1));
        Assert.Equal(1, scripted.Snapshot.Quarantined);
        Assert.InRange(scripted.Source.Terminated, 5, 15);
        await AdvanceAsync(scripted, TimeSpan.FromSeconds(2));
        await using var next = await waiting;

        Assert.Equal((1, 0, 1L), (scripted.Snapshot.Leased, scripted.Snapshot.Quarantined, scripted.Snapshot.TotalClosed));
        Assert.Equal(2, scripted.Source.Alive);
        Assert.Single(scripted.Log.Entries, entry => entry.EventId == 146);

        if (!comesToRest)
        {
            scripted.Source.Break(connection);
        }

        scripted.Source.ReleaseClose();
        await AdvanceAsync(scripted, TimeSpan.FromSeconds(20));
        Assert.Equal((1, 0, 1L), (scripted.Snapshot.Leased, scripted.Snapshot.Quarantined, scripted.Snapshot.TotalClosed));
        await next.DisposeAsync();
        await using (var last = await scripted.BeginRent())
        {
            // Whichever of those at rest it was, the one that was written off is nobody's.
            Assert.NotEqual(1, scripted.Source.NumberOf(last.Connection));
        }

        scripted.Pool.Clear();
        await scripted.UntilAsync(pool => pool is { Idle: 0, Leased: 0 } && pool.TotalOpened == pool.TotalClosed);
        Assert.Equal(0, scripted.Source.Alive);
    }

    private static async Task AdvanceAsync(ScriptedPool scripted, TimeSpan time)
    {
        for (var passed = TimeSpan.Zero; passed < time; passed += TimeSpan.FromSeconds(0.5))
        {
            scripted.Clock.Advance(TimeSpan.FromSeconds(0.5));
            await Task.Yield();
        }
    }

    private static async ValueTask ReturnAsync(Lease lease, bool blocking)
    {
        if (blocking)
        {
            lease.Dispose();
        }
        else
        {
            await lease.DisposeAsync();
        }
    }

    [Fact]
    [Trait("Conformance", "46")]
    public async Task Dispose_LeasesOfTwoPools_EachGoesBackToItsOwn()
    {
        await using var one = ScriptedPool.Create(options => options.MaxSize = 1);
        await using var other = ScriptedPool.Create(options => options.MaxSize = 1);
        var ofOne = await one.BeginRent();
        var ofOther = await other.BeginRent();

        await ofOther.DisposeAsync();

        Assert.Equal((1, 0), (one.Snapshot.Leased, one.Snapshot.Idle));
        Assert.Equal((0, 1), (other.Snapshot.Leased, other.Snapshot.Idle));
        Assert.NotEqual(ofOne, ofOther);
        await ofOne.DisposeAsync();
        Assert.Equal(1, one.Snapshot.Idle);
    }
}
