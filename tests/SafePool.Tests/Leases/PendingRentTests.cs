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

    /// <summary>A tenant's name, say, that a hook puts into the session. What returned the connection had a context of its own.</summary>
    [Fact]
    public async Task RentAsync_ServedAfterItWaited_RunsItsHookInTheContextOfItsCaller()
    {
        var tenant = new AsyncLocal<string?>();
        var seen = new List<string?>();
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(1, options => options.LeaseRented = async (_, _) =>
        {
            seen.Add(tenant.Value);
            await Task.Yield();
            seen.Add(tenant.Value);
        });
        await using var disposal = scripted;
        seen.Clear();
        tenant.Value = "mine";
        var waiting = scripted.BeginRent();
        tenant.Value = "his who returns";
        await leases[0].DisposeAsync();

        await using var served = await waiting;
        Assert.Equal(["mine", "mine"], seen);
        Assert.Equal("his who returns", tenant.Value);
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
