using System.Collections.Concurrent;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Leaks;

public sealed class LeakReportedTests
{
    private readonly ConcurrentQueue<LeakReport> _heard = new();

    [Fact]
    public async Task LeakReported_OverdueAndReturned_TellsBothWithTheHolder()
    {
        await using var scripted = ScriptedPool.Create();
        scripted.Pool.LeakReported += _heard.Enqueue;
        var lease = await scripted.RentAtAsync(57, new RentOptions { Label = "nightly" });
        scripted.Clock.Advance(TimeSpan.FromSeconds(31));
        lease.Dispose();

        await Eventually.True(() => _heard.Count == 2, "both are told");

        Assert.Equal([LeakKind.Overdue, LeakKind.ReturnedAfterAll], _heard.Select(report => report.Kind));
        Assert.All(_heard, report => Assert.Equal(("orders", lease.Id, "nightly"), (report.PoolName, report.Holder.LeaseId, report.Holder.Label)));
        Assert.Equal([.. scripted.Log.Said(LeakKit.Leak), .. scripted.Log.Said(LeakKit.ReturnedAfterAll)], _heard.Select(report => report.ToString()));
    }

    [Fact]
    public async Task LeakReported_Abandoned_IsTold()
    {
        var (scripted, _) = await ScriptedPool.CreateFullAsync(1, options => options.Leaks.AbandonAfter = TimeSpan.FromMinutes(1));
        await using var disposal = scripted;
        scripted.Pool.LeakReported += _heard.Enqueue;
        var waiting = scripted.BeginPatientRent();

        scripted.Clock.Advance(TimeSpan.FromSeconds(61));

        using var lease = await waiting;
        await Eventually.True(() => _heard.Count == 2, "both are told");
        Assert.Equal([LeakKind.Overdue, LeakKind.Abandoned], _heard.Select(report => report.Kind));
    }

    [Fact]
    [Trait("Conformance", "100")]
    public async Task LeakReported_AListenerThrows_TheOthersAreCalledAndItIsLogged()
    {
        await using var scripted = ScriptedPool.Create();
        scripted.Pool.LeakReported += _ => throw new InvalidOperationException("listener");
        scripted.Pool.LeakReported += _heard.Enqueue;
        using var first = await scripted.RentAtAsync(1);
        using var second = await scripted.RentAtAsync(2);

        scripted.Clock.Advance(TimeSpan.FromSeconds(31));

        await Eventually.True(() => _heard.Count == 2, "the other listener hears of both");
        Assert.Equal(2, scripted.Log.Said(LeakKit.ListenerFailed).Length);
        Assert.Equal(2, scripted.Snapshot.TotalLeaksReported);
    }

    [Fact]
    [Trait("Conformance", "100")]
    public async Task LeakReported_AListenerBlocks_HoldsUpNoReturnAndNoLook()
    {
        await using var scripted = ScriptedPool.Create();
        using var gate = new ManualResetEventSlim();
        scripted.Pool.LeakReported += _ => gate.Wait(TestContext.Current.CancellationToken);
        scripted.Pool.LeakReported += _heard.Enqueue;
        var lease = await scripted.RentAtAsync(1);
        scripted.Clock.Advance(TimeSpan.FromSeconds(31));

        lease.Dispose();
        using var other = await scripted.RentAtAsync(2);
        scripted.Clock.Advance(TimeSpan.FromSeconds(31));

        Assert.Equal((2, 1), (scripted.Log.Said(LeakKit.Leak).Length, scripted.Log.Said(LeakKit.ReturnedAfterAll).Length));
        Assert.Empty(_heard);
        gate.Set();
        await Eventually.True(() => _heard.Count == 3, "all are told at last");
    }

    [Fact]
    public async Task LeakReported_UnsubscribedListener_HearsNoMore()
    {
        await using var scripted = ScriptedPool.Create();
        var kept = new ConcurrentQueue<LeakReport>();
        scripted.Pool.LeakReported += _heard.Enqueue;
        scripted.Pool.LeakReported += kept.Enqueue;
        scripted.Pool.LeakReported -= _heard.Enqueue;
        using var lease = await scripted.RentAtAsync(1);

        scripted.Clock.Advance(TimeSpan.FromSeconds(31));

        await Eventually.True(() => kept.Count == 1, "the other hears of it");
        Assert.Empty(_heard);
    }
}
