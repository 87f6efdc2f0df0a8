using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Maintenance;

/// <summary>The maintenance loop sleeps, or the whole process has stood still: the first rent notices.</summary>
public sealed class StaleClockTests
{
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
