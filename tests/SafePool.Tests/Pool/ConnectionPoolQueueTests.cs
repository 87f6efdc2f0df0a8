using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Pool;

public sealed class ConnectionPoolQueueTests(ITestOutputHelper output)
{
    [Fact]
    [Trait("Conformance", "20")]
    public async Task RentAsync_SeveralWait_AreServedInOrderOfArrival()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(1);
        await using var disposal = scripted;
        Task<Lease>[] waiting = [scripted.BeginRent(), scripted.BeginRent(), scripted.BeginRent()];

        var lease = leases[0];
        for (var i = 0; i < waiting.Length; i++)
        {
            await lease.DisposeAsync();
            lease = await waiting[i];
            Assert.Equal(waiting.Length - 1 - i, scripted.Snapshot.Waiting);
        }

        await lease.DisposeAsync();
        Assert.Equal(1, scripted.Source.Opens);
    }

    [Fact]
    [Trait("Conformance", "21")]
    public async Task RentAsync_APlaceIsFreedWithoutAConnection_NoNewcomerOvertakesTheWaiter()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(1);
        await using var disposal = scripted;
        scripted.Source.HoldOpens = true;
        var waiter = scripted.BeginRent();

        scripted.Source.Break(leases[0].Connection);
        await leases[0].DisposeAsync();
        await scripted.Source.PendingOpensReachAsync(1);
        var newcomer = scripted.BeginRent();
        Assert.False(scripted.Pool.TryRent(out var none));
        Assert.Equal(default, none);
        scripted.Source.CompleteNextOpen();

        using var lease = await waiter;
        Assert.False(newcomer.IsCompleted);
    }

    [Fact]
    [Trait("Conformance", "22")]
    public async Task RentAsync_TimedOut_NeverGetsTheConnectionThatComesBackLater()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(1);
        await using var disposal = scripted;
        var waiting = scripted.BeginRent();
        scripted.Clock.Advance(TimeSpan.FromSeconds(5));
        await Assert.ThrowsAsync<PoolExhaustedException>(() => waiting);

        await leases[0].DisposeAsync();

        Assert.Equal(1, scripted.Snapshot.Idle);
        Assert.Equal(0, scripted.Snapshot.Leased);
    }

    [Fact]
    [Trait("Conformance", "23")]
    public async Task RentAsync_CancelledWhileItWaits_ThrowsWithThatTokenAndLeavesTheQueue()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(1);
        await using var disposal = scripted;
        using var cancellation = new CancellationTokenSource();
        var waiting = scripted.Pool.RentAsync(cancellation.Token).AsTask();

        await cancellation.CancelAsync();

        var error = await Assert.ThrowsAsync<OperationCanceledException>(() => waiting);
        Assert.Equal(cancellation.Token, error.CancellationToken);
        Assert.Equal(0, scripted.Snapshot.Waiting);
        await leases[0].DisposeAsync();
        Assert.Equal(1, scripted.Snapshot.Idle);
    }

    [Fact]
    [Trait("Conformance", "23")]
    public async Task RentAsync_CancelledInTheMomentOfTheHandOver_GivesALeaseOrAnErrorAndLosesNothing()
    {
        var seed = Random.Shared.Next();
        output.WriteLine($"seed {seed}");
        var random = new Random(seed);
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(1);
        await using var disposal = scripted;
        var lease = leases[0];

        for (var i = 0; i < 1_000; i++)
        {
            using var cancellation = new CancellationTokenSource();
            var waiting = scripted.Pool.RentAsync(cancellation.Token).AsTask();
            var head = random.Next(200);
            var cancelling = Task.Run(
                () =>
                {
                    Thread.SpinWait(head);
                    cancellation.Cancel();
                },
                TestContext.Current.CancellationToken);
            await lease.DisposeAsync();
            await cancelling;
            await Task.WhenAny(waiting);

            Assert.True(waiting.IsCanceled || waiting.IsCompletedSuccessfully);
            lease = waiting.IsCompletedSuccessfully ? await waiting : await scripted.BeginRent();
            Assert.Equal((1, 0, 0), (scripted.Snapshot.Leased, scripted.Snapshot.Idle, scripted.Snapshot.Waiting));
        }

        await lease.DisposeAsync();
        Assert.Equal(1, scripted.Source.Opens);
    }

    [Fact]
    [Trait("Conformance", "24")]
    public async Task RentAsync_TokenCancelledBefore_ThrowsWithoutTouchingThePool()
    {
        await using var scripted = ScriptedPool.Create();
        await scripted.FillAsync(1);
        var before = scripted.Snapshot;
        var cancelled = new CancellationToken(canceled: true);

        var error = await Assert.ThrowsAsync<OperationCanceledException>(async () => await scripted.Pool.RentAsync(cancelled));

        Assert.Equal(cancelled, error.CancellationToken);
        Assert.Equal(before with { Holders = [] }, scripted.Snapshot with { Holders = [] });
        Assert.Equal(1, scripted.Source.Opens);
    }

    [Fact]
    [Trait("Conformance", "25")]
    public async Task RentAsync_TenThousandWaitersAreCancelled_CountersAreBalancedAndLaterRentsAreServedAtOnce()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(2, options => options.MaxWaiters = 10_000);
        await using var disposal = scripted;
        using var cancellation = new CancellationTokenSource();
        List<Task<Lease>> waiting = [.. Enumerable.Range(0, 10_000).Select(_ => scripted.Pool.RentAsync(cancellation.Token).AsTask())];
        Assert.Equal(10_000, scripted.Snapshot.Waiting);

        await cancellation.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => Task.WhenAll(waiting));

        Assert.All(waiting, one => Assert.True(one.IsCanceled));
        await leases[0].DisposeAsync();
        var next = scripted.BeginRent();
        Assert.True(next.IsCompletedSuccessfully);
        (await next).Dispose();
        Assert.Equal((1, 1, 0), (scripted.Snapshot.Leased, scripted.Snapshot.Idle, scripted.Snapshot.Waiting));
        Assert.Equal(1, scripted.Clock.ActiveTimers);
    }

    [Fact]
    [Trait("Conformance", "27")]
    public async Task RentAsync_QueueIsFull_IsRejectedAtOnce()
    {
        var (scripted, _) = await ScriptedPool.CreateFullAsync(1, options => options.MaxWaiters = 2);
        await using var disposal = scripted;
        _ = scripted.BeginRent();
        _ = scripted.BeginRent();

        var third = scripted.BeginRent();

        Assert.True(third.IsFaulted);
        var error = await Assert.ThrowsAsync<PoolRejectedException>(() => third);
        Assert.Contains("1 of 1 leased", error.Message, StringComparison.Ordinal);
        Assert.Contains("2 waiting, and MaxWaiters is 2", error.Message, StringComparison.Ordinal);
        Assert.Equal(1, scripted.Snapshot.TotalRejected);
    }

    [Fact]
    [Trait("Conformance", "27")]
    public async Task RentAsync_MaxWaitersIsZero_OpensWhereThereIsRoomAndNeverQueuesForALease()
    {
        await using var scripted = ScriptedPool.Create(options => (options.MaxSize, options.MaxWaiters) = (1, 0));
        using var lease = await scripted.BeginRent();

        var second = scripted.BeginRent();

        Assert.True(second.IsFaulted);
        await Assert.ThrowsAsync<PoolRejectedException>(() => second);
    }

    [Fact]
    [Trait("Conformance", "29")]
    public async Task Rent_BlockedOnAnotherThread_IsWokenByAReturnOnThisOne()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(1);
        await using var disposal = scripted;
        var waiting = Task.Factory.StartNew(
            () => scripted.Pool.Rent(), TestContext.Current.CancellationToken, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        await scripted.UntilAsync(pool => pool.Waiting == 1);

        leases[0].Dispose();

        using var lease = await waiting;
        Assert.Equal(1, scripted.Source.NumberOf(lease.Connection));
    }
}
