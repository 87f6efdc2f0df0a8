using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Breaker;

/// <summary>Connections that died at rest, or went silent, on a clock that the tests move.</summary>
public sealed class ProbeTests
{
    private const int TicksPerSecond = 4;
    private const int ProbeFailed = 132;

    [Fact]
    [Trait("Conformance", "49")]
    public async Task RentAsync_InAPoolThatIsUsed_ProbesNothing()
    {
        await using var scripted = await CreateAsync(idle: 3);

        for (var i = 0; i < 20; i++)
        {
            scripted.Tick(TicksPerSecond - 1);
            await (await scripted.BeginRent()).DisposeAsync();
        }

        Assert.Empty(scripted.Source.Executed);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    [Trait("Conformance", "49")]
    public async Task RentAsync_AfterAQuietTime_AsManyAsWereIdleProbeAndThenNone(bool blocking)
    {
        await using var scripted = await CreateAsync(idle: 3);
        scripted.Tick(2 * TicksPerSecond);
        Assert.Empty(scripted.Source.Executed);

        for (var i = 1; i <= 6; i++)
        {
            await (blocking ? scripted.Pool.Rent() : await scripted.BeginRent()).DisposeAsync();
            Assert.Equal(Math.Min(i, 3), scripted.Source.Executed.Count);
        }
    }

    [Fact]
    [Trait("Conformance", "49")]
    public async Task TryRent_AfterAQuietTime_ProbesToo()
    {
        await using var scripted = await CreateAsync(idle: 2);
        scripted.Tick(2 * TicksPerSecond);
        scripted.Source.DieWhenAsked = true;

        Assert.False(scripted.Pool.TryRent(out _));

        Assert.Equal(0, scripted.Source.Alive);
    }

    [Fact]
    [Trait("Conformance", "50")]
    [Trait("Conformance", "53")]
    public async Task RentAsync_TheProbeFailsAndAllAreDead_OneFailureRetiresThemAllAndTheSameRentIsServed()
    {
        await using var scripted = await CreateAsync(idle: 5);
        scripted.Tick(2 * TicksPerSecond);
        scripted.Source.DieWhenAsked = true;

        await using var lease = await scripted.BeginRent();

        Assert.Single(scripted.Source.Executed);
        Assert.Equal(6, scripted.Source.NumberOf(lease.Connection));
        Assert.Equal((1, 0, 5L), (scripted.Snapshot.Leased, scripted.Snapshot.Idle, scripted.Snapshot.TotalClosed));
        Assert.Single(scripted.Log.Entries, entry => entry.EventId == ProbeFailed);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    [Trait("Conformance", "51")]
    public async Task RentAsync_TheProbeHasNoAnswer_IsBoundedAndTheSameRentIsServed(bool isBoundByBudget)
    {
        await using var scripted = await CreateAsync(idle: 2);
        scripted.Tick(2 * TicksPerSecond);
        var answer = new TaskCompletionSource();
        scripted.Source.DuringExecutes = () => answer.Task;
        var rent = scripted.BeginRent(isBoundByBudget ? TimeSpan.FromSeconds(1) : TimeSpan.FromSeconds(30));

        if (isBoundByBudget)
        {
            scripted.Tick(TicksPerSecond);
            var late = await Assert.ThrowsAsync<ConnectTimeoutException>(() => rent);
            Assert.Equal((AcquirePhase.Probing, TimeSpan.FromSeconds(1)), (late.Phase, late.Waited));
            Assert.Contains("sign of life", late.Message, StringComparison.Ordinal);
        }
        else
        {
            scripted.Tick(2 * TicksPerSecond);
            await using var lease = await rent;
            Assert.Equal(3, scripted.Source.NumberOf(lease.Connection));
            Assert.DoesNotContain(scripted.Log.Entries, entry => entry.EventId == ProbeFailed);

            // Another one is asked meanwhile, on a thread of the pool, and is silent too.
            await TickUntilAsync(scripted, () => scripted.Log.Entries.Any(entry => entry.EventId == ProbeFailed), "the server is found silent");
        }

        await TickUntilAsync(scripted, () => scripted.Snapshot.Quarantined == 2, "both are quarantined");
        answer.SetResult();
        await scripted.UntilAsync(pool => pool is { Quarantined: 0, Leased: 0 });
    }

    [Fact]
    [Trait("Conformance", "26")]
    public async Task RentAsync_CancelledWhileProbing_EndsAtOnceAndTheConnectionIsKept()
    {
        await using var scripted = await CreateAsync(idle: 1);
        scripted.Tick(2 * TicksPerSecond);
        var answer = new TaskCompletionSource();
        scripted.Source.DuringExecutes = () => answer.Task;
        using var cancellation = new CancellationTokenSource();
        var rent = scripted.Pool.RentAsync(cancellation.Token).AsTask();
        Assert.Single(scripted.Source.Executed);

        await cancellation.CancelAsync();

        var cancelled = await Assert.ThrowsAnyAsync<OperationCanceledException>(() => rent);
        Assert.Equal(cancellation.Token, cancelled.CancellationToken);
        Assert.Equal(1, scripted.Snapshot.Leased);
        scripted.Source.DuringExecutes = null;
        answer.SetResult();
        await scripted.UntilAsync(pool => pool is { Leased: 0, Idle: 1, TotalClosed: 0 });
        await using var next = await scripted.BeginRent();
        Assert.Equal(1, scripted.Source.NumberOf(next.Connection));
    }

    [Fact]
    [Trait("Conformance", "52")]
    public async Task RentAsync_EverythingIsDeadAndNothingCanBeOpened_DoesNotSpin()
    {
        await using var scripted = await CreateAsync(idle: 10);
        scripted.Tick(2 * TicksPerSecond);
        var opens = scripted.Source.Opens;
        scripted.Source.DieWhenAsked = true;
        scripted.Source.FailOpensWith = new Npgsql.NpgsqlException("refused", new IOException());

        var rents = Enumerable.Range(0, 10).Select(_ => scripted.BeginRent()).ToArray();
        for (var tick = 0; tick < TicksPerSecond; tick++)
        {
            scripted.Tick();
            await scripted.UntilAsync(pool => pool.Opening == 0);
        }

        Assert.InRange(scripted.Source.Executed.Count, 1, 10);
        Assert.InRange(scripted.Source.Opens - opens, 1, 5);
        scripted.Source.FailOpensWith = null;
        scripted.Source.DieWhenAsked = false;
        await Eventually.True(
            () =>
            {
                scripted.Tick();
                return rents.All(rent => rent.IsCompletedSuccessfully);
            },
            "all are served");
    }

    [Fact]
    [Trait("Conformance", "61")]
    public async Task Maintenance_IdleForLong_ProbesWhatIsIdleOnceAndNothingElse()
    {
        await using var scripted = await CreateAsync(idle: 4);
        var lease = await scripted.BeginRent();

        scripted.Tick(29 * TicksPerSecond);
        Assert.Empty(scripted.Source.Executed);
        scripted.Tick(2 * TicksPerSecond);
        await scripted.UntilAsync(_ => scripted.Source.Executed.Count == 3);
        scripted.Tick(20 * TicksPerSecond);

        Assert.Equal(3, scripted.Source.Executed.Count);
        scripted.Tick(12 * TicksPerSecond);
        await scripted.UntilAsync(_ => scripted.Source.Executed.Count == 6);
        await lease.DisposeAsync();
    }

    [Fact]
    [Trait("Conformance", "61")]
    public async Task RentAsync_WhileTheOnlyIdleConnectionIsProbed_DoesNotWaitForIt()
    {
        await using var scripted = await CreateAsync(idle: 1);
        var answer = new TaskCompletionSource();
        scripted.Source.DuringExecutes = () => answer.Task;
        scripted.Tick(31 * TicksPerSecond);
        await scripted.UntilAsync(_ => scripted.Source.Executed.Count == 1);

        await using var lease = await scripted.BeginRent();

        Assert.Equal(2, scripted.Source.NumberOf(lease.Connection));
        answer.SetResult();
        await scripted.UntilAsync(pool => pool is { Idle: 1, Leased: 1 });
    }

    [Fact]
    [Trait("Conformance", "53")]
    public async Task Maintenance_AProbeFails_RetiresEverythingOlderAndFillsTheMinimumAgain()
    {
        await using var scripted = await CreateAsync(idle: 4, minSize: 2);
        scripted.Source.DieWhenAsked = true;

        scripted.Tick(31 * TicksPerSecond);
        await scripted.UntilAsync(pool => pool.TotalClosed == 4);
        scripted.Source.DieWhenAsked = false;

        Assert.Single(scripted.Source.Executed);
        await Eventually.True(
            () =>
            {
                scripted.Tick();
                return scripted.Snapshot is { Idle: 2, TotalOpened: 6 };
            },
            "the minimum is there again");
    }

    [Fact]
    [Trait("Conformance", "51")]
    public async Task Maintenance_AProbeHasNoAnswer_GoesOnAfterTwoSeconds()
    {
        await using var scripted = await CreateAsync(idle: 3);
        var answer = new TaskCompletionSource();
        scripted.Source.DuringExecutes = () => answer.Task;
        scripted.Tick(31 * TicksPerSecond);
        await scripted.UntilAsync(_ => scripted.Source.Executed.Count == 1);

        scripted.Tick(3 * TicksPerSecond);
        await scripted.UntilAsync(_ => scripted.Source.Executed.Count >= 2);
        scripted.Tick(3 * TicksPerSecond);

        await scripted.Log.WaitForAsync(entry => entry.EventId == ProbeFailed);
        await using var lease = await scripted.BeginRent();
        scripted.Tick(3 * TicksPerSecond);
        await scripted.UntilAsync(pool => pool is { Idle: 0, Leased: 1, Quarantined: > 1 });
        answer.SetResult();
        await scripted.UntilAsync(pool => pool is { Quarantined: 0, Leased: 1 });
    }

    /// <summary>A balancer has dropped one; the others answer.</summary>
    [Fact]
    public async Task Maintenance_OneOfSeveralHasNoAnswer_CostsTheOthersNothing()
    {
        await using var scripted = await CreateAsync(idle: 3);
        var silence = new TaskCompletionSource();
        var asked = 0;
        scripted.Source.DuringExecutes = () => Interlocked.Increment(ref asked) == 1 ? silence.Task : Task.CompletedTask;
        scripted.Tick(31 * TicksPerSecond);
        await scripted.UntilAsync(_ => Volatile.Read(ref asked) == 1);

        scripted.Tick(3 * TicksPerSecond);

        await scripted.UntilAsync(pool => pool.Idle == 2);
        Assert.DoesNotContain(scripted.Log.Entries, entry => entry.EventId == ProbeFailed);
        Assert.Equal(3, scripted.Source.Alive);
        silence.SetResult();
    }

    private static Task TickUntilAsync(ScriptedPool scripted, Func<bool> condition, string what)
        => Eventually.True(
            () =>
            {
                scripted.Tick();
                return condition();
            },
            what);

    private static async Task<ScriptedPool> CreateAsync(int idle, int minSize = 0)
    {
        var scripted = ScriptedPool.Create(options =>
        {
            (options.MaxSize, options.MinSize, options.Reset) = (10, minSize, SessionReset.Rollback);
            (options.IdleTimeout, options.AcquireTimeout) = (Timeout.InfiniteTimeSpan, TimeSpan.FromMinutes(1));
        });
        List<Lease> leases = [];
        for (var i = 0; i < idle; i++)
        {
            leases.Add(await scripted.BeginRent());
        }

        foreach (var lease in leases)
        {
            await lease.DisposeAsync();
        }

        return scripted;
    }
}
