using System.Data;
using Microsoft.Extensions.Logging;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Leaks;

public sealed class OverdueLeaseTests
{
    [Fact]
    [Trait("Conformance", "86")]
    public async Task Scan_HeldForTheThreshold_IsReportedOnceAndWithAllThatIsKnown()
    {
        await using var scripted = ScriptedPool.Create();
        using var lease = await scripted.RentAtAsync(57, new RentOptions { Label = "nightly" });

        scripted.Clock.Advance(TimeSpan.FromSeconds(29.75));
        Assert.Empty(scripted.Log.Said(LeakKit.Leak));
        scripted.Clock.Advance(TimeSpan.FromMinutes(20));

        var entry = Assert.Single(scripted.Log.Entries, entry => entry.EventId.Id == LeakKit.Leak);
        Assert.Equal(LogLevel.Warning, entry.Level);
        Assert.Equal(
            $"Pool 'orders': lease {lease.Id} 'nightly', 30.0 s, rented at OrderStore.cs:57 (LoadAsync) is overdue (more than 30.0 s): " +
            "not seen at work for 30.0 s. Return it with 'using', or say ExpectedHold if it may take that long.",
            entry.Message);
        Assert.Equal((1, 0), (scripted.Snapshot.TotalLeaksReported, scripted.Snapshot.TotalReclaimed));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    [Trait("Conformance", "86")]
    public async Task Return_OfALeaseThatWasReported_IsSaidOnce(bool blocking)
    {
        await using var scripted = ScriptedPool.Create();
        var lease = await scripted.RentAtAsync(57);
        scripted.Clock.Advance(TimeSpan.FromSeconds(41));

        await ReturnAsync(lease, blocking);
        await ReturnAsync(lease, blocking);

        var entry = Assert.Single(scripted.Log.Entries, entry => entry.EventId.Id == LeakKit.ReturnedAfterAll);
        Assert.Equal(LogLevel.Information, entry.Level);
        Assert.Equal(
            $"Pool 'orders': lease {lease.Id}, 41.0 s, rented at OrderStore.cs:57 (LoadAsync) was reported as overdue and has been returned after all, held 41.0 s.",
            entry.Message);
        Assert.Equal((0, 1), (scripted.Snapshot.Leased, scripted.Snapshot.TotalLeaksReported));
    }

    [Fact]
    public async Task Return_OfALeaseThatWasNotReported_SaysNothing()
    {
        await using var scripted = ScriptedPool.Create();
        var lease = await scripted.RentAtAsync(57);
        scripted.Clock.Advance(TimeSpan.FromSeconds(29.75));

        lease.Dispose();

        Assert.Empty(scripted.Log.Entries);
    }

    [Fact]
    public async Task Return_OfTheNextLeaseOnThePlaceOfAReportedOne_SaysNothing()
    {
        await using var scripted = ScriptedPool.Create(options => options.MaxSize = 1);
        var first = await scripted.RentAtAsync(57);
        scripted.Clock.Advance(TimeSpan.FromSeconds(30));
        first.Dispose();

        (await scripted.RentAtAsync(58)).Dispose();

        Assert.Equal(first.Id, LeakKit.LeaseIn(Assert.Single(scripted.Log.Said(LeakKit.ReturnedAfterAll))));
    }

    [Fact]
    public async Task Scan_OneLeaseAfterTheOtherOnOnePlace_ReportsEach()
    {
        await using var scripted = ScriptedPool.Create(options => options.MaxSize = 1);

        for (var line = 1; line <= 3; line++)
        {
            using var lease = await scripted.RentAtAsync(line);
            scripted.Clock.Advance(TimeSpan.FromSeconds(31));
            Assert.Contains($"OrderStore.cs:{line} ", scripted.Log.Said(LeakKit.Leak)[^1], StringComparison.Ordinal);
        }

        Assert.Equal((3, 3L), (scripted.Log.Said(LeakKit.ReturnedAfterAll).Length, scripted.Snapshot.TotalLeaksReported));
    }

    [Fact]
    public async Task Scan_ExpectedHoldSaysOtherwise_GoesByThat()
    {
        await using var scripted = ScriptedPool.Create();
        using var brief = await scripted.RentAtAsync(1, new RentOptions { ExpectedHold = TimeSpan.FromSeconds(5) });
        using var patient = await scripted.RentAtAsync(2, new RentOptions { ExpectedHold = TimeSpan.FromMinutes(10) });

        scripted.Clock.Advance(TimeSpan.FromSeconds(5));
        Assert.Contains("is overdue (more than 5.0 s)", Assert.Single(scripted.Log.Said(LeakKit.Leak)), StringComparison.Ordinal);
        scripted.Clock.Advance(TimeSpan.FromMinutes(9));
        Assert.Single(scripted.Log.Said(LeakKit.Leak));
        scripted.Clock.Advance(TimeSpan.FromMinutes(1));

        Assert.Equal(patient.Id, LeakKit.LeaseIn(scripted.Log.Said(LeakKit.Leak)[1]));
    }

    [Fact]
    public async Task Scan_TrackingIsOff_ReportsNothingAndKnowsNoLine()
    {
        await using var scripted = ScriptedPool.Create(options => options.Leaks.Tracking = LeaseTracking.Off);
        var lease = await scripted.RentAtAsync(57);

        scripted.Clock.Advance(TimeSpan.FromHours(1));
        var holder = scripted.HolderOf(lease);
        lease.Dispose();

        Assert.Equal(("", "", 0), (holder.Member, holder.File, holder.Line));
        Assert.Equal(TimeSpan.FromHours(1), holder.Held);
        Assert.Empty(scripted.Log.Entries);
    }

    [Fact]
    public async Task Return_WhileThePoolDrains_IsSaidToo()
    {
        await using var scripted = ScriptedPool.Create();
        var lease = await scripted.RentAtAsync(57);
        scripted.Clock.Advance(TimeSpan.FromSeconds(35));
        var draining = scripted.Pool.DrainAsync(TimeSpan.FromMinutes(1), TestContext.Current.CancellationToken);

        await lease.DisposeAsync();

        await draining;
        Assert.Contains("held 35.0 s", Assert.Single(scripted.Log.Said(LeakKit.ReturnedAfterAll)), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(ConnectionState.Broken)]
    [InlineData(ConnectionState.Closed)]
    public async Task Return_OfAReportedLeaseWhoseConnectionIsGone_IsSaidToo(ConnectionState state)
    {
        await using var scripted = ScriptedPool.Create();
        var lease = await scripted.RentAtAsync(57);
        scripted.Clock.Advance(TimeSpan.FromSeconds(35));
        scripted.Source.SetState(lease.Connection, state);

        await lease.DisposeAsync();

        Assert.Single(scripted.Log.Said(LeakKit.ReturnedAfterAll));
    }

    [Fact]
    [Trait("Conformance", "100")]
    public async Task Scan_TheLoggerThrows_GoesOnWithTheOthers()
    {
        await using var scripted = ScriptedPool.Create();
        scripted.Log.ThrowOnLog = true;
        using var first = await scripted.RentAtAsync(1);
        using var second = await scripted.RentAtAsync(2);

        scripted.Clock.Advance(TimeSpan.FromSeconds(31));

        Assert.Equal((2, 2L), (scripted.Log.Said(LeakKit.Leak).Length, scripted.Snapshot.TotalLeaksReported));
    }

    private static async Task ReturnAsync(Lease lease, bool blocking)
    {
        if (blocking)
        {
            lease.Dispose();
        }
        else
        {
            await lease.DisposeAsync();
        }
    }
}
