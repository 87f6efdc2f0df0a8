using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Maintenance;

/// <summary>The maintenance loop sleeps, or the whole process has stood still: the first rent notices.</summary>
public sealed class StaleClockTests
{
    private static readonly Action<ConnectionPoolOptions> _rollsBack =
        options => (options.MaxSize, options.Reset, options.MaxLifetime) = (4, SessionReset.Rollback, Timeout.InfiniteTimeSpan);

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(0, false)]
    [InlineData(0.4, false)]
    [InlineData(1.5, true)]
    [InlineData(3600, true)]
    public async Task Rent_AfterTheProcessStoodStill_AsksWhatItGetsForASignOfLife(double seconds, bool expected)
    {
        FreezableTime? time = null;
        await using var scripted = ScriptedPool.Create(
            options => (options.MaxSize, options.Reset, options.MaxLifetime) = (4, SessionReset.Rollback, Timeout.InfiniteTimeSpan), clock => time = new FreezableTime(clock));
        await scripted.FillAsync(2);
        await using (await scripted.Pool.RentAsync(Cancellation))
        {
            scripted.Tick(2);
        }

        time!.StandStill(TimeSpan.FromSeconds(seconds));
        await using var lease = await scripted.Pool.RentAsync(Cancellation);

        Assert.Equal(expected, scripted.Source.Executed.Contains(";"));
    }

    [Fact]
    public async Task Tick_AfterTheProcessStoodStill_LetsTheNextRentsAsk()
    {
        FreezableTime? time = null;
        await using var scripted = ScriptedPool.Create(
            options => (options.MaxSize, options.Reset, options.MaxLifetime) = (4, SessionReset.Rollback, Timeout.InfiniteTimeSpan), clock => time = new FreezableTime(clock));
        await scripted.FillAsync(2);
        await using (await scripted.Pool.RentAsync(Cancellation))
        {
            scripted.Tick(2);
        }

        time!.StandStill(TimeSpan.FromSeconds(1.5));
        scripted.Tick();
        await using var lease = await scripted.Pool.RentAsync(Cancellation);

        Assert.Contains(";", scripted.Source.Executed);
    }

    /// <summary>All were out when the process stood still, and nothing was said to the server when they came back.</summary>
    [Fact]
    public async Task Rents_OfWhatWasLeasedWhileTheProcessStoodStill_AskEachOnce()
    {
        FreezableTime? time = null;
        await using var scripted = ScriptedPool.Create(_rollsBack, clock => time = new FreezableTime(clock));
        var leases = await scripted.RentManyAsync(4);
        scripted.Tick();

        time!.StandStill(TimeSpan.FromSeconds(1.5));
        scripted.Tick();
        await ReturnAsync(leases);
        await RentOneByOneAsync(scripted, 4);
        Assert.Equal(4, Probes(scripted));

        await RentOneByOneAsync(scripted, 8);
        scripted.Tick();
        Assert.Equal((4, false), (Probes(scripted), scripted.Pool.Parts.Physicals.NeedsCare));
    }

    /// <summary>One lease is out for long: the others are asked, then the pool is as fast as ever, and that one is asked when it has come back.</summary>
    [Fact]
    public async Task LongLease_OutWhileTheProcessStoodStill_DoesNotKeepThePoolLookingAndIsAskedAfterItsReturn()
    {
        FreezableTime? time = null;
        await using var scripted = ScriptedPool.Create(_rollsBack, clock => time = new FreezableTime(clock));
        var leases = await scripted.RentManyAsync(3);
        await ReturnAsync(leases[1..]);
        scripted.Tick();

        time!.StandStill(TimeSpan.FromSeconds(1.5));
        scripted.Tick();
        await RentOneByOneAsync(scripted, 2);
        scripted.Tick();
        Assert.Equal((2, false), (Probes(scripted), scripted.Pool.Parts.Physicals.NeedsCare));
        await RentOneByOneAsync(scripted, 20);
        Assert.Equal(2, Probes(scripted));

        await leases[0].DisposeAsync();
        Assert.True(scripted.Pool.Parts.Physicals.NeedsCare);
        await RentOneByOneAsync(scripted, 3);
        scripted.Tick();
        Assert.Equal((3, false), (Probes(scripted), scripted.Pool.Parts.Physicals.NeedsCare));
    }

    /// <summary>Returns beside the tick that finds the leases out: whichever is first, each is asked.</summary>
    [Fact]
    public async Task Returns_BesideTheTickAfterTheProcessStoodStill_AreAllAsked()
    {
        FreezableTime? time = null;
        await using var scripted = ScriptedPool.Create(
            options =>
            {
                // Nobody else takes an idle one or asks over it.
                _rollsBack(options);
                (options.ProbeAfterIdle, options.WatchServer) = (Timeout.InfiniteTimeSpan, false);
            },
            clock => time = new FreezableTime(clock));
        for (var round = 0; round < 300; round++)
        {
            var leases = await scripted.RentManyAsync(4);
            var before = Probes(scripted);
            time!.StandStill(TimeSpan.FromSeconds(1.5));
            using var together = new Barrier(2);

            await Task.WhenAll(
                Task.Run(
                    () =>
                    {
                        together.SignalAndWait(Cancellation);
                        scripted.Tick();
                    },
                    Cancellation),
                Task.Run(
                    async () =>
                    {
                        together.SignalAndWait(Cancellation);
                        await ReturnAsync(leases);
                    },
                    Cancellation));
            await ReturnAsync(await scripted.RentManyAsync(4));

            Assert.Equal((round, 4), (round, Probes(scripted) - before));
        }
    }

    /// <summary>What was opened since needs no question, and does not stand in for one that does.</summary>
    [Fact]
    public async Task Rents_OfWhatWasOpenedSince_UseUpNoQuestion()
    {
        FreezableTime? time = null;
        await using var scripted = ScriptedPool.Create(_rollsBack, clock => time = new FreezableTime(clock));
        var leases = await scripted.RentManyAsync(2);
        scripted.Tick();

        time!.StandStill(TimeSpan.FromSeconds(1.5));
        scripted.Tick();
        var opened = await scripted.RentManyAsync(2);
        await ReturnAsync(opened);
        await RentOneByOneAsync(scripted, 2);
        Assert.Equal(0, Probes(scripted));

        await ReturnAsync(leases);
        await RentOneByOneAsync(scripted, 4);
        Assert.Equal(2, Probes(scripted));
    }

    /// <summary>No freeze: leases that were held, and nobody rented or returned anything.</summary>
    [Fact]
    public async Task Rents_OfWhatWasHeldWhileThePoolWasQuiet_AskEachOnce()
    {
        await using var scripted = ScriptedPool.Create(_rollsBack);
        var leases = await scripted.RentManyAsync(2);
        scripted.Tick(8);
        Assert.False(scripted.Pool.Parts.Physicals.NeedsCare);

        await ReturnAsync(leases);
        await RentOneByOneAsync(scripted, 4);

        Assert.Equal(2, Probes(scripted));
    }

    /// <summary>What came back in the quiet was asked then; an hour later that is long ago.</summary>
    [Fact]
    public async Task Rent_LongAfterALeaseCameBackInTheQuiet_Asks()
    {
        await using var scripted = ScriptedPool.Create(options =>
        {
            _rollsBack(options);
            options.ProbeAfterIdle = Timeout.InfiniteTimeSpan;
        });
        var leases = await scripted.RentManyAsync(2);
        await leases[0].DisposeAsync();
        scripted.Tick(8);
        await leases[1].DisposeAsync();
        scripted.Tick(8);
        var before = Probes(scripted);

        await RentOneByOneAsync(scripted, 2);

        Assert.Equal(2, Probes(scripted) - before);
    }

    /// <summary>A lease that is out keeps the pool awake, and the sweep has sent what was unsent after the quiet began; an hour later that too is long ago.</summary>
    [Fact]
    public async Task Rents_LongAfterTheSweepHasHeardOfThemInTheQuiet_Ask()
    {
        await using var scripted = ScriptedPool.Create(options =>
            (options.MaxSize, options.MaxLifetime, options.ProbeAfterIdle, options.WatchServer) = (4, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan, false));
        var leases = await scripted.RentManyAsync(3);
        await ReturnAsync(leases[1..]);
        await Eventually.True(
            () =>
            {
                scripted.Tick();
                return Probes(scripted) == 2;
            },
            "what was unsent is sent");
        scripted.Tick(8);

        await RentOneByOneAsync(scripted, 2);

        Assert.Equal(4, Probes(scripted));
        await leases[0].DisposeAsync();
    }

    [Fact]
    public async Task UnusedPool_SleepsUntilSomethingIsDue_AndARentWakesIt()
    {
        await using var scripted = ScriptedPool.Create(options => (options.MaxSize, options.ProbeAfterIdle) = (4, TimeSpan.FromSeconds(20)));
        await scripted.FillAsync(2);
        await Eventually.True(
            () =>
            {
                scripted.Tick();
                return scripted.Pool.Parts.Clock.IsStale;
            },
            "it sleeps");
        var before = scripted.Source.Executed.Count;

        scripted.Clock.Advance(TimeSpan.FromSeconds(21));
        await Eventually.True(() => scripted.Source.Executed.Count == before + 2, "what was due while it slept was done");

        await using var lease = await scripted.Pool.RentAsync(Cancellation);
        Assert.False(scripted.Pool.Parts.Clock.IsStale);
        scripted.Clock.Advance(TimeSpan.FromSeconds(31));
        await Eventually.True(() => scripted.Snapshot.TotalLeaksReported == 1, "awake it looks after leases");
    }

    [Fact]
    public async Task Pool_WithALeaseOut_DoesNotSleep()
    {
        await using var scripted = ScriptedPool.Create();
        await using var lease = await scripted.Pool.RentAsync(Cancellation);

        scripted.Tick(40);

        Assert.False(scripted.Pool.Parts.Clock.IsStale);
    }

    private static int Probes(ScriptedPool scripted) => scripted.Source.Executed.Count(sql => sql == ";");

    private static async Task ReturnAsync(Lease[] leases)
    {
        foreach (var lease in leases)
        {
            await lease.DisposeAsync();
        }
    }

    private static async Task RentOneByOneAsync(ScriptedPool scripted, int times)
    {
        for (var rent = 0; rent < times; rent++)
        {
            await using var lease = await scripted.Pool.RentAsync(Cancellation);
        }
    }

    /// <summary>Time goes on, but no timer comes: as after SIGSTOP, in the instant in which the process goes on.</summary>
    private sealed class FreezableTime(TimeProvider inner) : TimeProvider
    {
        private long _lead;

        public override long TimestampFrequency => inner.TimestampFrequency;

        public void StandStill(TimeSpan time) => Interlocked.Add(ref _lead, (long)(time.TotalSeconds * TimestampFrequency));

        public override long GetTimestamp() => inner.GetTimestamp() + Interlocked.Read(ref _lead);

        public override DateTimeOffset GetUtcNow() => inner.GetUtcNow();

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
            => inner.CreateTimer(callback, state, dueTime, period);
    }
}
