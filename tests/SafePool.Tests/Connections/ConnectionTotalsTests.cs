using SafePool.Driver;
using SafePool.Leases;
using SafePool.Lifecycle;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Connections;

/// <summary>An open is given a connection that was at rest: whatever happens to the place that it lay under, before or after, as many are counted as there are.</summary>
public sealed class ConnectionTotalsTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task FoundAtRestForAWaiter_ItsPlaceIsMissedBeforeOrAfter_CountsWhatThereIs(bool missedFirst)
    {
        await using var scripted = ScriptedPool.Create(options => options.MaxSize = 3);
        await scripted.FillAsync(1);
        var (resting, settlement) = Parts(scripted);
        Assert.True(resting.TryTakeIdle(out var held));
        var opening = BeginOpen(scripted);
        Task<Lease>[] waiting = [scripted.BeginRent()];
        Assert.True(resting.TryRest(held));
        var found = Find(scripted);

        if (missedFirst)
        {
            resting.HandOn(held);
            settlement.Settle(opening, found, blocking: false);
        }
        else
        {
            settlement.Settle(opening, found, blocking: false);
            resting.HandOn(held);
        }

        await (await waiting[0]).DisposeAsync();
        foreach (var lease in await scripted.RentManyAsync(2))
        {
            await lease.DisposeAsync();
        }

        AssertCounted(scripted, idle: 2);
    }

    [Fact]
    public async Task FoundAtRest_NobodyWaits_AddsNothingHoweverManyWereMissedBefore()
    {
        await using var scripted = ScriptedPool.Create(options => options.MaxSize = 3);
        await scripted.FillAsync(2);
        scripted.Source.LoseAtRest();
        await scripted.FillAsync(1);
        var (_, settlement) = Parts(scripted);

        settlement.Settle(BeginOpen(scripted), Find(scripted), blocking: false);

        Assert.Equal((3L, 2L, 1), (scripted.Snapshot.TotalOpened, scripted.Snapshot.TotalClosed, scripted.Snapshot.Idle));
    }

    /// <summary>Its place is idle, and is emptied along with the others.</summary>
    [Fact]
    public async Task FoundAtRest_ThePoolIsPausedMeanwhile_IsCountedOnce()
    {
        await using var scripted = ScriptedPool.Create(options => options.MaxSize = 3);
        await scripted.FillAsync(2);
        var (_, settlement) = Parts(scripted);
        var (opening, found) = (BeginOpen(scripted), Find(scripted));

        var pausing = scripted.Pool.PauseAsync(Cancellation);
        settlement.Settle(opening, found, blocking: false);
        await pausing;

        Assert.Equal((2L, 2L, 0), (scripted.Snapshot.TotalOpened, scripted.Snapshot.TotalClosed, scripted.Source.Alive));
        scripted.Pool.Resume();
        await scripted.FillAsync(2);
        AssertCounted(scripted, idle: 2);
    }

    [Fact]
    public async Task FoundAtRest_ThePoolIsClosedMeanwhile_IsCountedOnce()
    {
        var scripted = ScriptedPool.Create(options => options.MaxSize = 3);
        await scripted.FillAsync(2);
        var (_, settlement) = Parts(scripted);
        var (opening, found) = (BeginOpen(scripted), Find(scripted));

        var closing = scripted.DisposeAsync();
        settlement.Settle(opening, found, blocking: false);
        await closing;

        Assert.Equal((2L, 2L, 0), (scripted.Snapshot.TotalOpened, scripted.Snapshot.TotalClosed, scripted.Source.Alive));
    }

    [Fact]
    public async Task FoundAtRest_ThePoolIsClearedMeanwhile_IsCountedOnce()
    {
        await using var scripted = ScriptedPool.Create(options => options.MaxSize = 3);
        await scripted.FillAsync(2);
        var (_, settlement) = Parts(scripted);
        var (opening, found) = (BeginOpen(scripted), Find(scripted));

        scripted.Pool.Clear();
        settlement.Settle(opening, found, blocking: false);

        Assert.Equal((2L, 2L, 0), (scripted.Snapshot.TotalOpened, scripted.Snapshot.TotalClosed, scripted.Source.Alive));
    }

    /// <summary>One that an open has found for a waiter has two places for a while; both are idle, and emptied.</summary>
    [Fact]
    public async Task FoundAtRestForAWaiter_ThePoolIsPausedBeforeItsFirstPlaceIsMissed_IsCountedOnce()
    {
        await using var scripted = ScriptedPool.Create(options => options.MaxSize = 3);
        await scripted.FillAsync(1);
        var (resting, settlement) = Parts(scripted);
        Assert.True(resting.TryTakeIdle(out var held));
        var opening = BeginOpen(scripted);
        Task<Lease>[] waiting = [scripted.BeginRent()];
        Assert.True(resting.TryRest(held));
        settlement.Settle(opening, Find(scripted), blocking: false);
        resting.HandOn(held);
        await (await waiting[0]).DisposeAsync();
        Assert.Equal(2, scripted.Snapshot.Idle);

        await scripted.Pool.PauseAsync(Cancellation);

        Assert.Equal((1L, 1L), (scripted.Snapshot.TotalOpened, scripted.Snapshot.TotalClosed));
    }

    private static void AssertCounted(ScriptedPool scripted, int idle)
    {
        var now = scripted.Snapshot;
        Assert.Equal((idle, idle, (long)idle), (now.Idle, scripted.Source.Alive, now.TotalOpened - now.TotalClosed));
    }

    private static (RestingPlaces Resting, OpenSettlement Settlement) Parts(ScriptedPool scripted)
    {
        var resting = new RestingPlaces(scripted.Pool.Parts) { Retire = _ => { }, Pump = () => { }, Relieve = () => { } };
        return (resting, new OpenSettlement(scripted.Pool.Parts, resting));
    }

    private static LeaseSlot BeginOpen(ScriptedPool scripted)
    {
        Assert.True(scripted.Pool.Parts.Gate.TryBeginFill(int.MaxValue, int.MaxValue, out var place));
        return scripted.Pool.Parts.Ledger[place];
    }

    private static OpenedConnection Find(ScriptedPool scripted)
    {
        var connection = scripted.Source.TryTakeEnlisting()!;
        return new OpenedConnection(connection, scripted.Source.Identify(connection)!, IsNew: false);
    }
}
