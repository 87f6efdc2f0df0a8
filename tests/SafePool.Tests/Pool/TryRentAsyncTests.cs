using System.Text.RegularExpressions;
using Npgsql;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Pool;

/// <summary>A refusal as a result says what the exception of <c>RentAsync</c> says, and costs next to nothing.</summary>
public sealed class TryRentAsyncTests
{
    private const int PoolExhausted = 106;

    private static readonly RentOptions _nowOrNever = new() { AcquireTimeout = TimeSpan.Zero };

    public static TheoryData<RefusalReason> Reasons() => [.. Enum.GetValues<RefusalReason>().Where(reason => reason != RefusalReason.None)];

    [Fact]
    public async Task TryRentAsync_SomethingIsIdle_GivesALease()
    {
        await using var scripted = ScriptedPool.Create();

        await using (var outcome = await scripted.BeginTryRent())
        {
            Assert.True(outcome.Succeeded);
            Assert.Equal((RefusalReason.None, null), (outcome.Reason, outcome.ToException()));
            Assert.NotNull(outcome.Lease.Connection);
            Assert.Equal(1, scripted.Snapshot.Leased);
        }

        await using var again = await scripted.BeginTryRent();
        Assert.Equal((1, 1L), (scripted.Source.Opens, scripted.Snapshot.TotalOpened));
    }

    [Fact]
    public async Task TryRentAsync_SomethingComesBackInTime_WaitedForIt()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(1);
        await using var disposal = scripted;
        var waits = scripted.Snapshot.TotalWaits;
        var trying = scripted.BeginTryRent();
        Assert.False(trying.IsCompleted);

        leases[0].Dispose();

        using var outcome = await trying;
        Assert.True(outcome.Succeeded);
        Assert.Equal(waits + 1, scripted.Snapshot.TotalWaits);
    }

    [Theory]
    [MemberData(nameof(Reasons))]
    public async Task TryRentAsync_Refused_TellsAsAResultWhatRentAsyncThrows(RefusalReason reason)
    {
        await using var throwing = await InStateAsync(reason);
        await using var telling = await InStateAsync(reason);
        var thrown = await Assert.ThrowsAnyAsync<PoolException>(() => EndAsync(throwing, reason, throwing.BeginRent(BudgetFor(reason))));

        var outcome = await EndAsync(telling, reason, telling.BeginTryRent(new RentOptions { AcquireTimeout = BudgetFor(reason) }));

        Assert.Equal((false, reason), (outcome.Succeeded, outcome.Reason));
        var told = outcome.ToException()!;
        Assert.IsType(thrown.GetType(), told);
        Assert.Equal(WithoutTimes(thrown), WithoutTimes(told));
        Assert.Same(told, outcome.ToException());
        Assert.Same(told, Assert.ThrowsAny<PoolException>(() => outcome.Lease));
        Assert.Equal(
            (throwing.Snapshot.TotalTimeouts, throwing.Snapshot.TotalRejected, throwing.Snapshot.TotalWaits),
            (telling.Snapshot.TotalTimeouts, telling.Snapshot.TotalRejected, telling.Snapshot.TotalWaits));
        outcome.Dispose();
        await outcome.DisposeAsync();
    }

    [Fact]
    public async Task TryRentAsync_Exhausted_TheExceptionHasTheCountsOfThen()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(2);
        await using var disposal = scripted;
        var trying = scripted.BeginTryRent();
        scripted.Clock.Advance(TimeSpan.FromSeconds(5));
        var outcome = await trying;

        leases[0].Dispose();

        var error = Assert.IsType<PoolExhaustedException>(outcome.ToException());
        Assert.Equal((2, TimeSpan.FromSeconds(5)), (error.Snapshot.Leased, error.Waited));
    }

    /// <summary>Nobody may ask for the exception; the log says once what has happened all the same.</summary>
    [Fact]
    public async Task TryRentAsync_ExhaustedAgainAndAgain_IsSaidOnceInTheLog()
    {
        var (scripted, _) = await ScriptedPool.CreateFullAsync(1);
        await using var disposal = scripted;

        for (var i = 0; i < 10; i++)
        {
            Assert.Equal(RefusalReason.Exhausted, (await scripted.BeginTryRent(_nowOrNever)).Reason);
        }

        Assert.Single(scripted.Log.Entries, entry => entry.EventId == PoolExhausted);
    }

    [Fact]
    public async Task TryRentAsync_Refused_BuildsNoException()
    {
        var (scripted, _) = await ScriptedPool.CreateFullAsync(50);
        await using var disposal = scripted;
        await LeastAllocatedAsync(() => scripted.BeginTryRent(_nowOrNever));

        var told = await LeastAllocatedAsync(() => scripted.BeginTryRent(_nowOrNever));
        var thrown = await LeastAllocatedAsync(async () => await Record.ExceptionAsync(() => scripted.BeginRent(TimeSpan.Zero)));

        // The picture of 50 holders alone takes more than that.
        Assert.InRange(told, 1, thrown / 10);
    }

    [Fact]
    public async Task TryRentAsync_WhatIsNotThePoolsAnswer_IsThrown()
    {
        await using var scripted = ScriptedPool.Create();
        scripted.Source.FailOpensWith = new PostgresException("password authentication failed", "FATAL", "FATAL", PostgresErrorCodes.InvalidPassword);

        await Assert.ThrowsAsync<PostgresException>(() => scripted.BeginTryRent());
        await Assert.ThrowsAsync<OperationCanceledException>(() => TryAsync(scripted, new CancellationToken(canceled: true)));
        await Assert.ThrowsAsync<ArgumentException>(() => scripted.BeginTryRent(new RentOptions { AcquireTimeout = TimeSpan.FromSeconds(-2) }));
        Assert.Equal(0, scripted.Snapshot.Leased);
    }

    [Fact]
    public async Task TryRentAsync_CancelledWhileItWaits_LeavesTheQueue()
    {
        var (scripted, _) = await ScriptedPool.CreateFullAsync(1);
        await using var disposal = scripted;
        using var cancellation = new CancellationTokenSource();
        var trying = TryAsync(scripted, cancellation.Token);

        await cancellation.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => trying);
        Assert.Equal(0, scripted.Snapshot.Waiting);
    }

    /// <summary>Of a flow whose rent was refused nothing must remain that would make its next rent look nested.</summary>
    [Fact]
    public async Task TryRentAsync_RefusedWhereNestedRentsThrow_LeavesTheFlowAsItWas()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(1, options => options.Leaks.NestedRents = NestedRentPolicy.Throw);
        await using var disposal = scripted;
        await Task.Run(async () =>
        {
            Assert.Equal(RefusalReason.Exhausted, (await scripted.BeginTryRent(_nowOrNever)).Reason);
            leases[0].Dispose();
            await using var outcome = await scripted.BeginTryRent();
            Assert.True(outcome.Succeeded);
            await Assert.ThrowsAsync<InvalidOperationException>(() => scripted.BeginTryRent());
        }, TestContext.Current.CancellationToken);
    }

    [Fact]
    public void Default_HasNoLeaseForNoReason()
    {
        var nothing = default(RentOutcome);

        Assert.Equal((false, RefusalReason.None, null), (nothing.Succeeded, nothing.Reason, nothing.ToException()));
        Assert.Throws<InvalidOperationException>(() => nothing.Lease);
        nothing.Dispose();
    }

    /// <summary>A collection in between may charge this thread with what it never used: one round of several is free of that.</summary>
    private static async Task<long> LeastAllocatedAsync(Func<Task> act)
    {
        var least = long.MaxValue;
        for (var round = 0; round < 5; round++)
        {
            var before = GC.GetAllocatedBytesForCurrentThread();
            await act();
            least = Math.Min(least, GC.GetAllocatedBytesForCurrentThread() - before);
        }

        return least;
    }

    private static async Task<ScriptedPool> InStateAsync(RefusalReason reason)
    {
        if (reason is RefusalReason.Exhausted or RefusalReason.Rejected)
        {
            return (await ScriptedPool.CreateFullAsync(2, options => options.MaxWaiters = reason == RefusalReason.Rejected ? 0 : 100)).Pool;
        }

        var scripted = ScriptedPool.Create(options => options.Breaker.TripAfter = TimeSpan.Zero);
        switch (reason)
        {
            case RefusalReason.CircuitOpen:
                scripted.Source.FailOpensWith = new NpgsqlException("down", new IOException());
                await Assert.ThrowsAsync<CircuitOpenException>(() => scripted.BeginRent());
                break;
            case RefusalReason.ConnectTimeout:
                scripted.Source.HoldOpens = true;
                break;
            case RefusalReason.Paused:
                await scripted.Pool.PauseAsync(TestContext.Current.CancellationToken);
                break;
            case RefusalReason.Closed:
                await scripted.Pool.DisposeAsync();
                break;
        }

        return scripted;
    }

    /// <summary>Pauses between attempts are drawn by lot.</summary>
    private static string WithoutTimes(Exception error) => Regex.Replace(error.Message, @"[\d.]+ m?s", "…");

    private static Task<RentOutcome> TryAsync(ScriptedPool scripted, CancellationToken cancellationToken) => scripted.Pool.TryRentAsync(cancellationToken: cancellationToken).AsTask();

    private static TimeSpan BudgetFor(RefusalReason reason)
        => TimeSpan.FromMilliseconds(reason is RefusalReason.ConnectTimeout or RefusalReason.Exhausted or RefusalReason.Paused ? 700 : 5000);

    /// <summary>Lets the budget pass for those that are refused only then.</summary>
    private static async Task<T> EndAsync<T>(ScriptedPool scripted, RefusalReason reason, Task<T> trying)
    {
        if (reason is RefusalReason.ConnectTimeout or RefusalReason.Exhausted or RefusalReason.Paused)
        {
            Assert.False(trying.IsCompleted);
            await scripted.Source.PendingOpensReachAsync(reason == RefusalReason.ConnectTimeout ? 1 : 0);
            scripted.Clock.Advance(TimeSpan.FromMilliseconds(700));
        }

        return await trying;
    }
}
