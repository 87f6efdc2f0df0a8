using Microsoft.Extensions.Logging;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Leaks;

public sealed class NestedRentTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    [Trait("Conformance", "94")]
    public async Task RentAsync_Off_SaysNothing()
    {
        await using var scripted = ScriptedPool.Create();
        using var outer = await scripted.RentAtAsync(1);
        using var inner = await scripted.RentAtAsync(2);

        Assert.Empty(scripted.Log.Entries);
    }

    [Fact]
    [Trait("Conformance", "94")]
    public async Task RentAsync_Warn_IsLoggedOnceForEachPairOfLines()
    {
        await using var scripted = Create(NestedRentPolicy.Warn);

        for (var i = 0; i < 3; i++)
        {
            using var outer = await RentAt(scripted, 1);
            using var inner = await RentAt(scripted, 2);
            using var innermost = await RentAt(scripted, 3);
        }

        Assert.All(scripted.Log.Entries, entry => Assert.Equal((LogLevel.Warning, LeakKit.Nested), (entry.Level, entry.EventId.Id)));
        Assert.Equal(2, scripted.Log.Entries.Count);
        Assert.Equal(
            "Pool 'orders': the rent at OrderStore.cs:2 (LoadAsync) is nested: its flow holds a lease of this pool, rented at OrderStore.cs:1 (LoadAsync). " +
            "Under load all holders can end up waiting for each other. Pass the outer lease down, or return it first.",
            scripted.Log.Entries[0].Message);
        Assert.Contains("OrderStore.cs:3 (LoadAsync) is nested: its flow holds a lease of this pool, rented at OrderStore.cs:2 ", scripted.Log.Entries[1].Message, StringComparison.Ordinal);
    }

    [Fact]
    [Trait("Conformance", "94")]
    public async Task RentAsync_Throw_FailsTheTaskLosesNoPlaceAndLeavesLaterRentsAlone()
    {
        await using var scripted = Create(NestedRentPolicy.Throw, size: 2);
        await scripted.FillAsync(1);
        var outer = await RentAt(scripted, 1);

        var inner = RentAt(scripted, 2).AsTask();
        var error = await Assert.ThrowsAsync<InvalidOperationException>(() => inner);

        Assert.Equal(
            "Pool 'orders': the rent at OrderStore.cs:2 (LoadAsync) is nested: its flow holds a lease of this pool, rented at OrderStore.cs:1 (LoadAsync), " +
            "and NestedRents is Throw. Pass the outer lease down, or return it first.",
            error.Message);
        Assert.Equal(1, scripted.Snapshot.Leased);
        outer.Dispose();
        for (var i = 0; i < 5; i++)
        {
            using var later = await RentAt(scripted, 3);
            Assert.Equal(1, scripted.Snapshot.Leased);
        }
    }

    [Fact]
    [Trait("Conformance", "94")]
    public async Task EveryWayToRent_WithinALease_Throws()
    {
        await using var scripted = Create(NestedRentPolicy.Throw);
        await scripted.FillAsync(1);
        using var outer = await RentAt(scripted, 1);

        await Assert.ThrowsAsync<InvalidOperationException>(async () => await scripted.Pool.RentAsync(Cancellation));
        await Assert.ThrowsAsync<InvalidOperationException>(async () => await scripted.Pool.RentAsync(new RentOptions(), Cancellation));
        await Assert.ThrowsAsync<InvalidOperationException>(async () => await scripted.Pool.OpenConnectionAsync(Cancellation));
        Assert.Throws<InvalidOperationException>(() => scripted.Pool.Rent());
        Assert.Throws<InvalidOperationException>(() => scripted.Pool.Rent(new RentOptions()));
        Assert.Throws<InvalidOperationException>(() => scripted.Pool.TryRent(out _));
        Assert.Throws<InvalidOperationException>(() => scripted.Pool.OpenConnection());

        Assert.Equal((1, 0), (scripted.Snapshot.Leased, scripted.Snapshot.Waiting));
    }

    [Fact]
    public async Task EveryWayToRent_AsTheOuter_Counts()
    {
        await using var scripted = Create(NestedRentPolicy.Throw);
        await scripted.FillAsync(1);

        using (scripted.Pool.Rent())
        {
            await ThrowsAsync(scripted);
        }

        using (scripted.Pool.TryRent(out var tried) ? tried : default)
        {
            Assert.NotEqual(default, tried);
            await ThrowsAsync(scripted);
        }

        await scripted.Pool.OpenConnectionAsync(Cancellation);
        await ThrowsAsync(scripted);
    }

    [Fact]
    [Trait("Conformance", "94")]
    public async Task RentAsync_InACalleeAfterAwaits_IsNested()
    {
        await using var scripted = Create(NestedRentPolicy.Throw);
        using var outer = await RentAt(scripted, 1);

        await Task.Yield();
        await Assert.ThrowsAsync<InvalidOperationException>(() => CalleeAsync(scripted));
    }

    [Fact]
    [Trait("Conformance", "94")]
    public async Task RentAsync_InATaskStartedWhileHolding_IsNested()
    {
        await using var scripted = Create(NestedRentPolicy.Throw);
        using var outer = await RentAt(scripted, 1);

        await Assert.ThrowsAsync<InvalidOperationException>(() => Task.Run(() => CalleeAsync(scripted), Cancellation));
    }

    [Fact]
    public async Task RentAsync_InATaskStartedWhileHoldingThatRentsAfterTheReturn_IsNotNested()
    {
        await using var scripted = Create(NestedRentPolicy.Throw);
        var returned = new TaskCompletionSource();
        var outer = await RentAt(scripted, 1);
        var task = Task.Run(
            async () =>
            {
                await returned.Task;
                await CalleeAsync(scripted);
            },
            Cancellation);

        outer.Dispose();
        returned.SetResult();

        await task;
    }

    [Fact]
    [Trait("Conformance", "94")]
    public async Task RentAsync_OneAfterTheOther_IsNotNested()
    {
        await using var scripted = Create(NestedRentPolicy.Throw);

        for (var i = 0; i < 5; i++)
        {
            using var lease = await RentAt(scripted, i);
            await Task.Yield();
        }

        await CalleeAsync(scripted);
        await CalleeAsync(scripted);
    }

    [Fact]
    [Trait("Conformance", "94")]
    public async Task RentAsync_BySiblingsOfAParentThatHoldsNothing_IsNotNested()
    {
        await using var scripted = Create(NestedRentPolicy.Throw);
        await using (var before = await RentAt(scripted, 1))
        {
            Assert.Equal(1, scripted.Snapshot.Leased);
        }

        var all = new TaskCompletionSource();
        var siblings = Enumerable.Range(0, 5).Select(_ => HoldUntilAsync(scripted, all.Task)).ToArray();
        await scripted.UntilAsync(pool => pool.Leased == 5);
        all.SetResult();

        await Task.WhenAll(siblings);
    }

    [Fact]
    [Trait("Conformance", "94")]
    public async Task RentAsync_AfterTheOuterWasReturnedElsewhere_IsNotNested()
    {
        await using var scripted = Create(NestedRentPolicy.Throw);
        var outer = await RentAt(scripted, 1);
        await Task.Run(async () => await outer.DisposeAsync(), Cancellation);

        using var later = await RentAt(scripted, 2);
        Assert.Equal(1, scripted.Snapshot.Leased);
    }

    [Fact]
    public async Task RentAsync_AfterTheOuterWasAbandoned_IsNotNested()
    {
        await using var scripted = ScriptedPool.Create(options =>
            (options.MaxSize, options.Leaks.NestedRents, options.Leaks.AbandonAfter) = (1, NestedRentPolicy.Throw, TimeSpan.FromMinutes(1)));
        var outer = await RentAt(scripted, 1);
        var waiter = ElsewhereAsync(scripted.BeginPatientRent);
        await scripted.UntilAsync(pool => pool.Waiting == 1);
        scripted.Clock.Advance(TimeSpan.FromMinutes(1));
        (await waiter).Dispose();
        Assert.Throws<LeaseAbandonedException>(() => outer.Connection);

        using var later = await RentAt(scripted, 2);
    }

    /// <summary>A limit: what an async method notes in its context is gone when it has returned to its caller.</summary>
    [Fact]
    public async Task RentAsync_AfterAHelperHasHandedItsLeaseOut_IsNotSeen()
    {
        await using var scripted = Create(NestedRentPolicy.Throw);
        using var outer = await scripted.RentAtAsync(1);

        using var inner = await scripted.RentAtAsync(2);

        Assert.Equal(2, scripted.Snapshot.Leased);
    }

    [Fact]
    [Trait("Conformance", "94")]
    public async Task RentAsync_FromAnotherPool_IsNotNested()
    {
        await using var scripted = Create(NestedRentPolicy.Throw);
        await using var other = Create(NestedRentPolicy.Throw);
        using var outer = await RentAt(scripted, 1);

        using var inner = await RentAt(other, 2);

        Assert.Equal((1, 1), (scripted.Snapshot.Leased, other.Snapshot.Leased));
    }

    [Fact]
    [Trait("Conformance", "94")]
    public async Task RentAsync_AfterOneThatFailedOrWasCancelled_IsNotNested()
    {
        await using var scripted = Create(NestedRentPolicy.Throw, size: 1);
        var held = await ElsewhereAsync(() => scripted.RentManyAsync(1));
        using var cancelling = new CancellationTokenSource();
        var cancelled = scripted.Pool.RentAsync(cancelling.Token).AsTask();
        await cancelling.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => cancelled);
        await Assert.ThrowsAsync<PoolExhaustedException>(async () => await scripted.Pool.RentAsync(new RentOptions { AcquireTimeout = TimeSpan.Zero }, Cancellation));
        Assert.False(scripted.Pool.TryRent(out _));
        held[0].Dispose();

        using var lease = await RentAt(scripted, 1);
        Assert.Equal(1, scripted.Snapshot.Leased);
    }

    /// <summary>In another flow, which knows nothing of the caller's.</summary>
    private static Task<T> ElsewhereAsync<T>(Func<Task<T>> act)
    {
        using (ExecutionContext.SuppressFlow())
        {
            return Task.Run(act);
        }
    }

    private static async Task CalleeAsync(ScriptedPool scripted)
    {
        using var lease = await RentAt(scripted, 2);
        await Task.Yield();
    }

    private static async Task HoldUntilAsync(ScriptedPool scripted, Task until)
    {
        using var lease = await RentAt(scripted, 2);
        await until;
    }

    private static async Task ThrowsAsync(ScriptedPool scripted)
        => await Assert.ThrowsAsync<InvalidOperationException>(async () => await RentAt(scripted, 9));

    // Not an async method: the rent is noted in the context of whoever calls this.
    private static ValueTask<Lease> RentAt(ScriptedPool scripted, int line)
        => scripted.Pool.RentAsync(CancellationToken.None, "LoadAsync", "/src/OrderStore.cs", line);

    private static ScriptedPool Create(NestedRentPolicy policy, int size = 10)
        => ScriptedPool.Create(options => (options.MaxSize, options.Leaks.NestedRents) = (size, policy));
}
