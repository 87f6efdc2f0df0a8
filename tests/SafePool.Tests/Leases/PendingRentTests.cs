using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Leases;

/// <summary>What a rent that waits gives its caller is re-used. Callers who break the rules of <see cref="ValueTask"/> get no lease of somebody else's.</summary>
public sealed class PendingRentTests
{
#pragma warning disable CA2012, SFP0001, SFP0007 // Broken on purpose.
    [Fact]
    public async Task RentAsync_ACallerBlocksOnItWhileItWaits_GetsItsLease()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(1);
        await using var disposal = scripted;
        var blocked = Task.Factory.StartNew(
            () => scripted.Pool.RentAsync(TestContext.Current.CancellationToken).GetAwaiter().GetResult(),
            TestContext.Current.CancellationToken, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        await scripted.UntilAsync(pool => pool.Waiting == 1);

        leases[0].Dispose();

        using var lease = await blocked;
        Assert.Equal(1, scripted.Snapshot.Leased);
    }

    [Fact]
    public async Task RentAsync_AwaitedTwice_TellsSoAndHarmsNobody()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(1);
        await using var disposal = scripted;
        var mine = scripted.Pool.RentAsync(TestContext.Current.CancellationToken);
        leases[0].Dispose();
        var lease = await mine;

        // Most likely on the same object.
        var others = scripted.BeginRent();
        await Assert.ThrowsAsync<InvalidOperationException>(async () => await mine);
        Assert.Throws<InvalidOperationException>(() => mine.GetAwaiter().GetResult());
        Assert.False(others.IsCompleted);
        await lease.DisposeAsync();

        await using var theirs = await others;
        Assert.NotEqual(lease, theirs);
        Assert.NotNull(theirs.Connection);
        Assert.Equal(1, scripted.Snapshot.Leased);
    }

    /// <summary>A refusal is thrown where it is awaited; what it was noted on serves the next.</summary>
    [Fact]
    public async Task RentAsync_RefusedAfterItWaited_ThrowsOnceAndTheNextIsServed()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(1);
        await using var disposal = scripted;
        for (var i = 0; i < 10; i++)
        {
            var refused = scripted.BeginRent(TimeSpan.FromSeconds(1));
            scripted.Clock.Advance(TimeSpan.FromSeconds(1));
            Assert.Equal(TimeSpan.FromSeconds(1), (await Assert.ThrowsAsync<PoolExhaustedException>(() => refused)).Waited);
        }

        var waiting = scripted.BeginRent();
        leases[0].Dispose();

        await using var served = await waiting;
        Assert.Equal(10, scripted.Snapshot.TotalTimeouts);
    }
#pragma warning restore CA2012, SFP0001, SFP0007
}
