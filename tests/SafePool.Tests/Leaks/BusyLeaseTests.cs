using System.Data;
using Microsoft.Extensions.Logging;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Leaks;

public sealed class BusyLeaseTests
{
    [Theory]
    [InlineData(ConnectionState.Executing, "a command has been running", LeaseActivity.Running)]
    [InlineData(ConnectionState.Fetching, "a reader has been open", LeaseActivity.Reading)]
    public async Task Scan_SomethingRuns_IsMentionedOnceAndReportedAfterTheBusyThreshold(ConnectionState state, string doing, LeaseActivity activity)
    {
        await using var scripted = ScriptedPool.Create();
        using var lease = await scripted.RentAtAsync(57);
        scripted.Clock.Advance(TimeSpan.FromSeconds(10));
        scripted.Source.SetState(lease.Connection, state);

        scripted.Clock.Advance(TimeSpan.FromSeconds(289.75));
        var mention = Assert.Single(scripted.Log.Entries);
        Assert.Equal((LeakKit.Busy, LogLevel.Information), (mention.EventId.Id, mention.Level));
        Assert.Equal(
            $"Pool 'orders': lease {lease.Id}, 30.0 s, rented at OrderStore.cs:57 (LoadAsync) is held for long; {doing} for at least 19.8 s. A warning follows if that goes on.",
            mention.Message);
        Assert.Equal((0, activity), (scripted.Snapshot.TotalLeaksReported, scripted.HolderOf(lease).Activity));
        scripted.Clock.Advance(TimeSpan.FromMinutes(20));

        Assert.EndsWith(
            $"is overdue (more than 30.0 s): {doing} for at least 4 min 49 s. Bound it with StatementTimeout, or say ExpectedHold if it may take that long.",
            Assert.Single(scripted.Log.Said(LeakKit.Leak)),
            StringComparison.Ordinal);
        Assert.Equal(1, scripted.Snapshot.TotalLeaksReported);
    }

    [Fact]
    public async Task Scan_WhatRanHasEnded_IsReportedAtTheNextLook()
    {
        await using var scripted = ScriptedPool.Create();
        using var lease = await scripted.RentAtAsync(57);
        var connection = lease.Connection;
        scripted.Source.SetState(connection, ConnectionState.Executing);
        scripted.Clock.Advance(TimeSpan.FromSeconds(45));

        scripted.Source.SetState(connection, ConnectionState.Open);
        scripted.Tick();

        Assert.Contains("45.3 s, rented", Assert.Single(scripted.Log.Said(LeakKit.Leak)), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Return_OfALeaseThatWasOnlyMentioned_SaysNothing()
    {
        await using var scripted = ScriptedPool.Create();
        var lease = await scripted.RentAtAsync(57);
        var connection = lease.Connection;
        scripted.Source.SetState(connection, ConnectionState.Executing);
        scripted.Clock.Advance(TimeSpan.FromSeconds(45));
        scripted.Source.SetState(connection, ConnectionState.Open);

        lease.Dispose();

        Assert.Equal(LeakKit.Busy, Assert.Single(scripted.Log.Entries).EventId.Id);
    }

    [Fact]
    public async Task Scan_BusyThresholdEqualsTheThreshold_ReportsBusyOnesLikeOthers()
    {
        await using var scripted = ScriptedPool.Create(options => options.Leaks.BusyThreshold = options.Leaks.Threshold);
        using var lease = await scripted.RentAtAsync(57);
        scripted.Source.SetState(lease.Connection, ConnectionState.Executing);

        scripted.Clock.Advance(TimeSpan.FromSeconds(30));

        Assert.Equal(LeakKit.Leak, Assert.Single(scripted.Log.Entries).EventId.Id);
    }

    [Fact]
    public async Task Scan_ExpectedHoldIsLongerThanTheBusyThreshold_WaitsTwiceAsLong()
    {
        await using var scripted = ScriptedPool.Create();
        using var lease = await scripted.RentAtAsync(57, new RentOptions { ExpectedHold = TimeSpan.FromMinutes(8) });
        scripted.Source.SetState(lease.Connection, ConnectionState.Executing);

        scripted.Clock.Advance(TimeSpan.FromMinutes(15));
        Assert.Equal(LeakKit.Busy, Assert.Single(scripted.Log.Entries).EventId.Id);
        scripted.Clock.Advance(TimeSpan.FromMinutes(1));

        Assert.Single(scripted.Log.Said(LeakKit.Leak));
    }

    [Fact]
    [Trait("Conformance", "89")]
    public async Task QuietFor_AfterUseOfTheLease_BeginsAnew()
    {
        await using var scripted = ScriptedPool.Create();
        using var lease = await scripted.RentAtAsync(57);
        Assert.Equal(TimeSpan.Zero, Quiet());
        scripted.Clock.Advance(TimeSpan.FromSeconds(7));
        Assert.Equal(TimeSpan.FromSeconds(7), Quiet());

        _ = lease.Connection;
        Assert.Equal(TimeSpan.Zero, Quiet());
        scripted.Clock.Advance(TimeSpan.FromSeconds(3));
        await using (lease.CreateCommand("SELECT 1"))
        {
            Assert.Equal(TimeSpan.Zero, Quiet());
        }

        scripted.Clock.Advance(TimeSpan.FromSeconds(2));
        Assert.Equal(TimeSpan.FromSeconds(2), Quiet());

        TimeSpan Quiet() => scripted.HolderOf(lease).QuietFor;
    }

    [Fact]
    [Trait("Conformance", "89")]
    public async Task QuietFor_AfterALookThatFoundACommand_BeginsAnew()
    {
        await using var scripted = ScriptedPool.Create();
        using var lease = await scripted.RentAtAsync(57);
        var connection = lease.Connection;
        scripted.Clock.Advance(TimeSpan.FromSeconds(10));

        scripted.Source.SetState(connection, ConnectionState.Executing);
        scripted.Tick();
        scripted.Source.SetState(connection, ConnectionState.Open);
        scripted.Clock.Advance(TimeSpan.FromSeconds(4));

        Assert.Equal((TimeSpan.FromSeconds(4), LeaseActivity.Idle), (scripted.HolderOf(lease).QuietFor, scripted.HolderOf(lease).Activity));
    }
}
