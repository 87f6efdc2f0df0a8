using System.Data;
using Npgsql;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Leaks;

/// <summary>Reports that ask the server first (<see cref="LeakOptions.InspectBackends"/>).</summary>
public sealed class InspectedLeaseTests
{
    [Fact]
    [Trait("Conformance", "86")]
    public async Task Scan_TheServerAnswers_TheReportWaitsForItAndIsExact()
    {
        await using var scripted = Create();
        using var lease = await scripted.RentAtAsync(57);
        var connection = lease.Connection;
        Answer(scripted, connection, "idle in transaction", TimeSpan.FromSeconds(12), "Client: ClientRead");

        scripted.Clock.Advance(TimeSpan.FromSeconds(30));
        Assert.Empty(scripted.Log.Said(LeakKit.Leak));
        await Eventually.True(() => scripted.HolderOf(lease).Backend is not null, "the server has answered");
        scripted.Tick();

        Assert.EndsWith(
            "is overdue (more than 30.0 s): its session is idle in transaction for 12.3 s (Client: ClientRead). " +
            "Commit and return it before slow work, or say ExpectedHold if it may take that long.",
            Assert.Single(scripted.Log.Said(LeakKit.Leak)),
            StringComparison.Ordinal);
        var holder = scripted.HolderOf(lease);
        Assert.Equal((LeaseActivity.IdleInTransaction, TimeSpan.FromSeconds(12.25)), (holder.Activity, holder.QuietFor));
        Assert.Equal(1, scripted.Source.Inspections);
    }

    [Fact]
    public async Task Scan_TheServerDoesNotAnswer_IsReportedAllTheSame()
    {
        await using var scripted = Create();
        using var lease = await scripted.RentAtAsync(57);

        await TickUntilSaidAsync(scripted, LeakKit.Leak, TimeSpan.FromSeconds(30));

        Assert.Contains("not seen at work for", Assert.Single(scripted.Log.Said(LeakKit.Leak)), StringComparison.Ordinal);
        Assert.Null(scripted.HolderOf(lease).Backend);
    }

    [Fact]
    public async Task Scan_TheServerDoesNotShowTheSession_IsReportedAllTheSame()
    {
        await using var scripted = Create();
        scripted.Source.Backends = [];
        using var lease = await scripted.RentAtAsync(57);

        await TickUntilSaidAsync(scripted, LeakKit.Leak, TimeSpan.FromSeconds(30));

        Assert.Null(scripted.HolderOf(lease).Backend);
    }

    [Fact]
    public async Task Scan_TheServerWasSilentOnce_IsAskedAgainForTheNextReport()
    {
        await using var scripted = Create();
        using var first = await scripted.RentAtAsync(1);
        await TickUntilSaidAsync(scripted, LeakKit.Leak, TimeSpan.FromSeconds(30));
        scripted.Clock.Advance(TimeSpan.FromMinutes(1));

        using var second = await scripted.RentAtAsync(2);
        Answer(scripted, second.Connection, "idle", TimeSpan.FromSeconds(12));
        scripted.Clock.Advance(TimeSpan.FromSeconds(30));
        await Eventually.True(() => scripted.HolderOf(second).Backend is not null, "the server has answered");
        scripted.Tick();

        Assert.Contains("its session is idle for 12.3 s", scripted.Log.Said(LeakKit.Leak)[1], StringComparison.Ordinal);
    }

    /// <summary>An answer that was given while callers waited, long before the report, says nothing about now.</summary>
    [Fact]
    public async Task Scan_TheServerAnsweredLongAgo_IsAskedAgain()
    {
        await using var scripted = Create(options => options.MaxSize = 1);
        using var lease = await scripted.RentAtAsync(57);
        var connection = lease.Connection;
        Answer(scripted, connection, "active", TimeSpan.FromSeconds(1));
        var waiting = scripted.BeginRent(TimeSpan.FromSeconds(2));
        scripted.Clock.Advance(TimeSpan.FromSeconds(1.5));
        await Eventually.True(() => scripted.HolderOf(lease).Backend is not null, "the server has answered");
        scripted.Clock.Advance(TimeSpan.FromSeconds(1));
        await Assert.ThrowsAsync<PoolExhaustedException>(() => waiting);
        var asked = await InspectionsSettleAsync(scripted);
        Answer(scripted, connection, "idle", TimeSpan.FromSeconds(20));

        // Up to the threshold, and from there tick by tick: the answer comes while time goes on.
        await TickUntilSaidAsync(scripted, LeakKit.Leak, TimeSpan.FromSeconds(27.25));

        Assert.Matches(@"its session is idle for 2\d", Assert.Single(scripted.Log.Said(LeakKit.Leak)));
        Assert.True(scripted.Source.Inspections > asked);
    }

    [Fact]
    public async Task Scan_ALeaseIsBusyForLong_AsksOnceForTheMentionAndOnceForTheReport()
    {
        await using var scripted = Create(options => options.Leaks.BusyThreshold = TimeSpan.FromMinutes(1));
        using var lease = await scripted.RentAtAsync(57);
        var connection = lease.Connection;
        scripted.Source.SetState(connection, ConnectionState.Executing);
        Answer(scripted, connection, "active", TimeSpan.FromSeconds(5), "Lock: transactionid");

        await TickUntilSaidAsync(scripted, LeakKit.Busy, TimeSpan.FromSeconds(30));
        await TickUntilSaidAsync(scripted, LeakKit.Leak, TimeSpan.FromSeconds(31));

        Assert.Contains("its session is active for 5", scripted.Log.Said(LeakKit.Busy)[0], StringComparison.Ordinal);
        Assert.Contains("(Lock: transactionid)", scripted.Log.Said(LeakKit.Leak)[0], StringComparison.Ordinal);
        Assert.Equal(2, scripted.Source.Inspections);
    }

    [Fact]
    public async Task Scan_InspectionIsOff_AsksNobody()
    {
        await using var scripted = ScriptedPool.Create();
        using var lease = await scripted.RentAtAsync(57);

        scripted.Clock.Advance(TimeSpan.FromMinutes(10));

        Assert.Single(scripted.Log.Said(LeakKit.Leak));
        Assert.Equal(0, scripted.Source.Inspections);
    }

    /// <summary>Commands on a connection that was kept may all fall between two looks; the server has seen them.</summary>
    [Fact]
    [Trait("Conformance", "89")]
    public async Task Scan_TheServerSawALaterCommandThanAnyLook_DoesNotAbandonTheLease()
    {
        await using var scripted = Create(options => (options.MaxSize, options.Leaks.AbandonAfter) = (1, TimeSpan.FromMinutes(1)));
        using var lease = await scripted.RentAtAsync(57);
        var connection = lease.Connection;
        Answer(scripted, connection, "idle", TimeSpan.FromSeconds(30));
        await TickUntilSaidAsync(scripted, LeakKit.Leak, TimeSpan.FromSeconds(30));
        scripted.Clock.Advance(TimeSpan.FromMinutes(10));
        Answer(scripted, connection, "idle", TimeSpan.FromSeconds(4));

        var waiting = scripted.BeginPatientRent();
        var asked = scripted.Source.Inspections;
        await Eventually.True(
            () =>
            {
                scripted.Tick();
                return scripted.Source.Inspections > asked;
            },
            "the server has been asked about the lease that might be abandoned");
        scripted.Clock.Advance(TimeSpan.FromSeconds(30));

        Assert.Equal((1, 0L), (scripted.Snapshot.Waiting, scripted.Snapshot.TotalReclaimed));
        Answer(scripted, connection, "idle", TimeSpan.FromMinutes(1));
        scripted.Clock.Advance(TimeSpan.FromSeconds(30));
        using var next = await scripted.TickUntilAsync(waiting);
        Assert.Equal(1, scripted.Snapshot.TotalReclaimed);
    }

    /// <summary>A question that was asked while somebody waited may still be on its way.</summary>
    private static async Task<int> InspectionsSettleAsync(ScriptedPool scripted)
    {
        var (last, looks) = (-1, 0);
        await Eventually.True(
            () =>
            {
                looks = scripted.Source.Inspections == last ? looks + 1 : 0;
                last = scripted.Source.Inspections;
                return looks == 5;
            },
            "no question is on its way");
        return last;
    }

    private static ScriptedPool Create(Action<ConnectionPoolOptions>? configure = null)
        => ScriptedPool.Create(options =>
        {
            options.Leaks.InspectBackends = true;
            configure?.Invoke(options);
        });

    private static void Answer(ScriptedPool scripted, NpgsqlConnection connection, string state, TimeSpan age, string? waitEvent = null)
        => scripted.Source.Backends = new Dictionary<NpgsqlConnection, BackendActivity>
        {
            [connection] = new() { State = state, StateAge = age, QueryAge = age, WaitEvent = waitEvent },
        };

    private static async Task TickUntilSaidAsync(ScriptedPool scripted, int eventId, TimeSpan first)
    {
        scripted.Clock.Advance(first);
        await Eventually.True(
            () =>
            {
                scripted.Tick();
                return scripted.Log.Said(eventId).Length > 0;
            },
            "it is said");
    }
}
