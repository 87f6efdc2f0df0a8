using System.Diagnostics;
using System.Runtime.CompilerServices;
using SafePool.TestKit;
using SafePool.Tests.Leases;
using Xunit;

namespace SafePool.Tests.Leaks;

/// <summary>
/// A rent is noted as a link to the one before it, so what keeps an early link keeps all. Seen by the activity in which an early rent was made:
/// nothing but its link refers to that.
/// </summary>
[Collection(nameof(DroppedLeaseTests))]
public sealed class NestedRentMemoryTests
{
    [Fact]
    public async Task Rents_AHundredThousandInOneFlow_LeaveNoChain()
    {
        await using var scripted = await CreateAsync();
        (await RentTraced(scripted, out var trace)).Dispose();

        for (var i = 0; i < 100_000; i++)
        {
            (await scripted.Pool.RentAsync(CancellationToken.None)).Dispose();
        }

        AssertGone(trace);
    }

    [Fact]
    public async Task Rents_WhileTheFlowHoldsALease_LeaveNoChain()
    {
        await using var scripted = await CreateAsync();
        using var outer = await scripted.Pool.RentAsync(CancellationToken.None);
        (await RentTraced(scripted, out var trace)).Dispose();

        for (var i = 0; i < 1000; i++)
        {
            (await scripted.Pool.RentAsync(CancellationToken.None)).Dispose();
        }

        AssertGone(trace);
    }

    /// <summary>The next lease is always rented before the last one is returned, so there is always a link that is alive.</summary>
    [Fact]
    public async Task Rents_HandOverHandInOneFlow_LeaveNoChain()
    {
        await using var scripted = await CreateAsync();

        var last = await RentTraced(scripted, out var trace);
        for (var i = 0; i < 1000; i++)
        {
            var next = await scripted.Pool.RentAsync(CancellationToken.None);
            last.Dispose();
            last = next;
        }

        AssertGone(trace);
        last.Dispose();
    }

    [Fact]
    public async Task TryRent_WhoseHookThrows_LeavesNoChain()
    {
        var throws = false;
        await using var scripted = await CreateAsync(
            options => options.LeaseRented = (_, _) => throws ? throw new NotSupportedException("hook") : ValueTask.CompletedTask);

        throws = true;
        FailTraced(scripted, out var trace);
        throws = false;
        (await scripted.Pool.RentAsync(CancellationToken.None)).Dispose();

        AssertGone(trace);
    }

    private static async Task<ScriptedPool> CreateAsync(Action<ConnectionPoolOptions>? configure = null)
    {
        var scripted = ScriptedPool.Create(options =>
        {
            options.Leaks.NestedRents = NestedRentPolicy.Warn;
            configure?.Invoke(options);
        });
        await scripted.FillAsync(3);
        return scripted;
    }

    // Not an async method: the rent is noted in the context of whoever calls this.
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static ValueTask<Lease> RentTraced(ScriptedPool scripted, out WeakReference trace)
    {
        using var activity = new Activity("early").Start();
        trace = new WeakReference(activity);
        return scripted.Pool.RentAsync(CancellationToken.None);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void FailTraced(ScriptedPool scripted, out WeakReference trace)
    {
        using var activity = new Activity("early").Start();
        trace = new WeakReference(activity);
        Assert.Throws<NotSupportedException>(() => scripted.Pool.TryRent(out _));
    }

    private static void AssertGone(WeakReference reference)
    {
        GC.Collect();
        Assert.False(reference.IsAlive);
    }
}
