using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Leaks;

/// <summary>Leases that are all held by flows which wait for another one: a deadlock, unless somebody else has been given them.</summary>
public sealed class DeadlockTests
{
    private static readonly TimeSpan _budget = TimeSpan.FromSeconds(60);

    /// <summary>Who rented a lease is not who will return it: here those to whom a loop has handed its leases.</summary>
    [Fact]
    public async Task RentAsync_TheLeasesWereHandedOn_WaitsAndIsServedWhenOneComesBack()
    {
        await using var scripted = Create(size: 4);
        var handedOn = new List<Lease>();
        for (var i = 0; i < 4; i++)
        {
            handedOn.Add(await RentAt(scripted, 1));
        }

        var fifth = scripted.BeginRent(_budget);
        scripted.Tick(4);
        Assert.False(fifth.IsCompleted);
        handedOn[2].Dispose();

        await (await fifth).DisposeAsync();
        Assert.Equal(0, scripted.Snapshot.TotalTimeouts);
        handedOn.ForEach(static held => held.Dispose());
    }

    /// <summary>Nothing moves for long: that is as near to a proof as one can come.</summary>
    [Fact]
    public async Task RentAsync_NothingMovesOnAnyOfTheLeases_FailsBeforeItsBudgetEnds()
    {
        await using var scripted = Create(size: 2);
        using var outer = await RentAt(scripted, 1);
        using var middle = await RentAt(scripted, 2);
        var inner = scripted.BeginRent(_budget);

        scripted.Tick(36);
        Assert.False(inner.IsCompleted);
        scripted.Tick(6);

        var error = await Assert.ThrowsAsync<PoolExhaustedException>(() => inner);
        Assert.InRange(error.Waited, TimeSpan.FromSeconds(9), TimeSpan.FromSeconds(11));
        Assert.Contains("a deadlock", error.Message, StringComparison.Ordinal);
    }

    /// <summary>One that is used now and then, by somebody to whom it was given.</summary>
    [Fact]
    public async Task RentAsync_OneOfTheLeasesIsUsedMeanwhile_WaitsOutItsBudget()
    {
        await using var scripted = Create(size: 2);
        using var outer = await RentAt(scripted, 1);
        using var middle = await RentAt(scripted, 2);
        var inner = scripted.BeginRent(_budget);

        for (var seconds = 0; seconds < 59; seconds++)
        {
            scripted.Tick(4);
            Assert.False(inner.IsCompleted);
            _ = middle.Connection;
        }

        scripted.Tick(6);
        var error = await Assert.ThrowsAsync<PoolExhaustedException>(() => inner);
        Assert.DoesNotContain("deadlock", error.Message, StringComparison.Ordinal);
        Assert.Equal(1, error.Diagnosis.Evidence.Single(evidence => evidence.Verdict == PoolVerdict.NestedRents).Places);
    }

    /// <summary>What a method looks like that holds a lease and calls another one which rents.</summary>
    [Fact]
    public async Task RentAsync_TheFlowHoldsOneLease_FailsAtTheSecondLook()
    {
        await using var scripted = Create(size: 1);
        using var outer = await RentAt(scripted, 1);
        var inner = scripted.BeginRent(_budget);

        scripted.Tick(3);

        var error = await Assert.ThrowsAsync<PoolExhaustedException>(() => inner);
        Assert.InRange(error.Waited, TimeSpan.Zero, TimeSpan.FromSeconds(0.75));
        Assert.Contains("a deadlock", error.Message, StringComparison.Ordinal);
    }

    /// <summary>A short budget gains nothing from an earlier end, and a worker may need as long.</summary>
    [Fact]
    public async Task RentAsync_SeveralLeasesAndAShortBudget_IsWaitedOut()
    {
        await using var scripted = Create(size: 2);
        using var outer = await RentAt(scripted, 1);
        using var middle = await RentAt(scripted, 2);
        var inner = scripted.BeginRent(TimeSpan.FromSeconds(2));

        scripted.Tick(8);

        var error = await Assert.ThrowsAsync<PoolExhaustedException>(() => inner);
        Assert.Equal((TimeSpan.FromSeconds(2), PoolVerdict.NestedRents), (error.Waited, error.Diagnosis.Verdict));
        Assert.DoesNotContain("deadlock", error.Message, StringComparison.Ordinal);
    }

    // Not an async method: the rent is noted in the context of whoever calls this.
    private static ValueTask<Lease> RentAt(ScriptedPool scripted, int line)
        => scripted.Pool.RentAsync(CancellationToken.None, "LoadAsync", "/src/OrderStore.cs", line);

    private static ScriptedPool Create(int size)
        => ScriptedPool.Create(options => (options.MaxSize, options.Leaks.NestedRents) = (size, NestedRentPolicy.Warn));
}
