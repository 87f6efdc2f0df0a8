using System.Diagnostics;
using SafePool.Diagnostics;
using SafePool.Logging;
using SafePool.Reports;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Leaks;

/// <summary>What a rent writes down about itself, at every level of <see cref="LeaseTracking"/>.</summary>
public sealed class RentSiteTests : IDisposable
{
    // The leases that a place may have served before a look is sure to find out that tracing is on.
    private const int Looks = 64;

    private readonly Activity _activity = new("request");

    [Fact]
    public async Task Rent_EveryWay_WritesDownMemberFileAndLine()
    {
        await using var scripted = ScriptedPool.Create();
        await scripted.FillAsync(1);

        using var plain = await scripted.Pool.RentAsync(TestContext.Current.CancellationToken);
        var line = LineAbove();
        using var withOptions = await scripted.Pool.RentAsync(new RentOptions { Label = "nightly" }, TestContext.Current.CancellationToken);
        using var blocking = scripted.Pool.Rent();
        await scripted.FillAsync(4);
        Assert.True(scripted.Pool.TryRent(out var tried));
        using var disposal = tried;

        var holders = scripted.Snapshot.Holders.OrderBy(holder => holder.Line).ToArray();
        Assert.Equal([line, line + 2, line + 3, line + 5], holders.Select(holder => holder.Line));
        Assert.All(holders, holder => Assert.Equal(("RentSiteTests.cs", nameof(Rent_EveryWay_WritesDownMemberFileAndLine)), (holder.File, holder.Member)));
        Assert.Equal([null, "nightly", null, null], holders.Select(holder => holder.Label));
    }

    [Fact]
    public void Text_WithoutAFile_IsTheMemberOrUnknown()
    {
        Assert.Equal("OrderStore.LoadAsync", new RentSite("OrderStore.LoadAsync", "", 0).ToString());
        Assert.Equal("an unknown line", new RentSite("", "", 0).ToString());
        Assert.Equal("an unknown line", default(RentSite).ToString());
    }

    [Theory]
    [InlineData("/home/build/src/OrderStore.cs")]
    [InlineData(@"C:\build\src\OrderStore.cs")]
    [InlineData("OrderStore.cs")]
    public async Task File_OfARentBuiltAnywhere_IsTheNameOnly(string path)
    {
        await using var scripted = ScriptedPool.Create();
        using var lease = await scripted.Pool.RentAsync(TestContext.Current.CancellationToken, "LoadAsync", path, 57);

        Assert.Equal("OrderStore.cs", scripted.HolderOf(lease).File);
    }

    [Fact]
    public async Task TraceId_OfARentThatWaited_IsThatOfItsCaller()
    {
        await using var scripted = ScriptedPool.Create(options => options.MaxSize = 1);
        var first = await scripted.RentAtAsync(1);
        _activity.Start();
        var waiting = scripted.BeginRent();
        _activity.Stop();

        first.Dispose();
        using var lease = await waiting;

        Assert.Equal(_activity.TraceId.ToHexString(), scripted.HolderOf(lease).TraceId);
        Assert.Contains($", trace {_activity.TraceId.ToHexString()}", scripted.HolderOf(lease).ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task TraceId_OfRentsThatAreServedAtOnce_IsKnownOnceALookFoundOutThatTracingIsOn()
    {
        await using var scripted = ScriptedPool.Create(options => options.MaxSize = 1);
        await scripted.FillAsync(1);
        _activity.Start();

        Assert.Contains(await TraceIdsAsync(scripted, Looks), id => id is not null);

        Assert.All(await TraceIdsAsync(scripted, 200), id => Assert.Equal(_activity.TraceId.ToHexString(), id));
        using var child = new Activity("child").Start();
        Assert.All(await TraceIdsAsync(scripted, 3), id => Assert.Equal(child.TraceId.ToHexString(), id));
    }

    [Fact]
    public async Task TraceId_AfterManyRentsWithoutATrace_IsLookedForOnlyNowAndThen()
    {
        await using var scripted = ScriptedPool.Create(options => options.MaxSize = 1);
        await scripted.FillAsync(1);
        _activity.Start();
        await TraceIdsAsync(scripted, Looks);
        _activity.Stop();
        Assert.All(await TraceIdsAsync(scripted, 2 * Looks), Assert.Null);

        _activity.Dispose();
        using var next = new Activity("next").Start();
        var found = await TraceIdsAsync(scripted, Looks);

        Assert.Equal(next.TraceId.ToHexString(), found[^1]);
        Assert.Contains(found, id => id is null);
    }

    [Fact]
    public async Task TraceId_NotTraced_IsNull()
    {
        await using var scripted = ScriptedPool.Create();
        using var lease = await scripted.RentAtAsync(57);

        Assert.Null(scripted.HolderOf(lease).TraceId);
    }

    [Fact]
    public async Task Tracking_Off_WritesDownNeitherLineNorTraceNorStack()
    {
        await using var scripted = ScriptedPool.Create(options => (options.MaxSize, options.Leaks.Tracking) = (1, LeaseTracking.Off));
        _activity.Start();

        for (var i = 0; i < 3; i++)
        {
            using var lease = await scripted.RentAtAsync(57, i == 2 ? new RentOptions { Label = "kept" } : null);
            var holder = scripted.HolderOf(lease);
            Assert.Equal(("", "", 0, null, null), (holder.Member, holder.File, holder.Line, holder.TraceId, holder.StackTrace));
            Assert.Equal(i == 2 ? "kept" : null, holder.Label);
            Assert.Contains("rented at an unknown line", holder.ToString(), StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Tracking_CallSite_NeverTakesAStack()
    {
        await using var scripted = ScriptedPool.Create(options => options.Leaks.Tracking = LeaseTracking.CallSite);
        await ReportAsync(scripted, 57);

        using var lease = await scripted.RentAtAsync(57);

        Assert.Null(scripted.HolderOf(lease).StackTrace);
    }

    [Fact]
    [Trait("Conformance", "86")]
    public async Task Tracking_Adaptive_TakesAStackWhereALeaseHasBeenReportedAndNowhereElse()
    {
        await using var scripted = ScriptedPool.Create();
        using (var before = await scripted.RentAtAsync(57))
        {
            Assert.Null(scripted.HolderOf(before).StackTrace);
        }

        await ReportAsync(scripted, 57);

        using var again = await scripted.RentAtAsync(57);
        using var elsewhere = await scripted.RentAtAsync(58);
        Assert.Contains(nameof(Tracking_Adaptive_TakesAStackWhereALeaseHasBeenReportedAndNowhereElse), scripted.HolderOf(again).StackTrace!, StringComparison.Ordinal);
        Assert.Null(scripted.HolderOf(elsewhere).StackTrace);
        scripted.Clock.Advance(TimeSpan.FromSeconds(31));
        var said = Assert.Single(scripted.Log.Said(LeakKit.Leak), said => LeakKit.LeaseIn(said) == again.Id);
        Assert.EndsWith(Environment.NewLine + scripted.HolderOf(again).StackTrace, said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Tracking_AdaptiveOnABusyLine_TakesSixteenStacksATick()
    {
        await using var scripted = ScriptedPool.Create();
        await ReportAsync(scripted, 57);

        Assert.Equal(16, await StacksAsync(scripted, 40));
        scripted.Tick();
        Assert.Equal(16, await StacksAsync(scripted, 40));
    }

    [Fact]
    public async Task Tracking_StackTrace_TakesOneForEveryRent()
    {
        await using var scripted = ScriptedPool.Create(options => options.Leaks.Tracking = LeaseTracking.StackTrace);

        Assert.Equal(40, await StacksAsync(scripted, 40));
    }

    [Fact]
    public async Task StackTraceSampling_TakesAboutThatShare()
    {
        await using var scripted = ScriptedPool.Create(options =>
            (options.Leaks.Tracking, options.Leaks.StackTraceSampling) = (LeaseTracking.CallSite, 0.25));

        // 250 are expected; less than 150 or more than 350 comes once in ten trillion runs.
        Assert.InRange(await StacksAsync(scripted, 1000), 150, 350);
    }

    [Fact]
    public async Task StackTraceSampling_One_TakesAll()
    {
        await using var scripted = ScriptedPool.Create(options => options.Leaks.StackTraceSampling = 1);

        Assert.Equal(100, await StacksAsync(scripted, 100));
    }

    public void Dispose() => _activity.Dispose();

    private static int LineAbove([System.Runtime.CompilerServices.CallerLineNumber] int line = 0) => line - 1;

    private static async Task ReportAsync(ScriptedPool scripted, int line)
    {
        using var lease = await scripted.RentAtAsync(line);
        scripted.Clock.Advance(TimeSpan.FromSeconds(31));
        Assert.Equal(lease.Id, LeakKit.LeaseIn(scripted.Log.Said(LeakKit.Leak)[^1]));
    }

    private static async Task<string?[]> TraceIdsAsync(ScriptedPool scripted, int rents)
    {
        var ids = new string?[rents];
        for (var i = 0; i < rents; i++)
        {
            using var lease = await scripted.RentAtAsync(57);
            ids[i] = scripted.HolderOf(lease).TraceId;
        }

        return ids;
    }

    private static async Task<int> StacksAsync(ScriptedPool scripted, int rents)
    {
        var stacks = 0;
        for (var i = 0; i < rents; i++)
        {
            using var lease = await scripted.RentAtAsync(57);
            stacks += scripted.HolderOf(lease).StackTrace is null ? 0 : 1;
        }

        return stacks;
    }
}
