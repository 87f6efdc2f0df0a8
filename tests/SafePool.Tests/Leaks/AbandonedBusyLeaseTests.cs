using System.Data;
using Xunit;

namespace SafePool.Tests.Leaks;

/// <summary>Abandoned while something runs: only with <see cref="LeakOptions.TerminateRunning"/>.</summary>
public sealed class AbandonedBusyLeaseTests
{
    private static readonly TimeSpan _patience = LeakKit.Patience;

    /// <summary>Taking a lease away takes time while its command is cancelled; the same caller must not cost another holder his lease.</summary>
    [Fact]
    [Trait("Conformance", "88")]
    public async Task Scan_OneIsBeingTakenAway_TakesNoSecondForTheSameWaiter()
    {
        await using var scripted = LeakKit.CreateAbandoning(2, options => options.Leaks.TerminateRunning = true);
        scripted.Source.CancelEndsCommands = false;
        var leases = await scripted.RentManyAsync(2);
        var connections = leases.Select(lease => lease.Connection).ToArray();
        Array.ForEach(connections, connection => scripted.Source.SetState(connection, ConnectionState.Executing));
        scripted.Clock.Advance(TimeSpan.FromMinutes(6));
        var waiting = scripted.BeginPatientRent();

        scripted.Tick(4);

        Assert.Equal(1, scripted.Snapshot.TotalReclaimed);
        Assert.Equal([false, true], leases.Select(LeakKit.IsHeld));
        scripted.Source.SetState(connections[0], ConnectionState.Open);
        using var next = await scripted.TickUntilAsync(waiting);
        Assert.Equal(1, scripted.Snapshot.TotalReclaimed);
    }

    [Theory]
    [InlineData(ConnectionState.Executing)]
    [InlineData(ConnectionState.Fetching)]
    public async Task Scan_SomethingRunsAndMayNotBeTerminated_TakesNothingAway(ConnectionState state)
    {
        await using var scripted = LeakKit.CreateAbandoning(1);
        using var lease = await scripted.RentAtAsync(57);
        scripted.Source.SetState(lease.Connection, state);
        var waiting = scripted.BeginPatientRent();

        scripted.Clock.Advance(TimeSpan.FromMinutes(20));

        Assert.Equal((1L, 0L, 0), (scripted.Snapshot.TotalLeaksReported, scripted.Snapshot.TotalReclaimed, scripted.Source.Cancels));
        lease.Dispose();
        using var next = await scripted.TickUntilAsync(waiting);
    }

    [Theory]
    [InlineData(ConnectionState.Executing)]
    [InlineData(ConnectionState.Fetching)]
    public async Task Scan_SomethingRunsForLongAndMayBeTerminated_CancelsItAndRetiresTheConnection(ConnectionState state)
    {
        await using var scripted = LeakKit.CreateAbandoning(1, options => (options.Leaks.TerminateRunning, options.Leaks.BusyThreshold) = (true, options.Leaks.Threshold));
        using var lease = await scripted.RentAtAsync(57);
        var connection = lease.Connection;
        var waiting = scripted.BeginPatientRent();
        scripted.Clock.Advance(TimeSpan.FromSeconds(10));
        scripted.Source.SetState(connection, state);

        scripted.Clock.Advance(_patience);
        Assert.Equal(0, scripted.Snapshot.TotalReclaimed);
        scripted.Tick();

        using var next = await scripted.TickUntilAsync(waiting);
        Assert.Equal((1, 1L, 2), (scripted.Source.Cancels, scripted.Snapshot.TotalReclaimed, scripted.Source.NumberOf(next.Connection)));
        Assert.Equal((1, 0), (scripted.Source.Alive, scripted.Source.ClosedWhileExecuting));
        Assert.Throws<LeaseAbandonedException>(() => lease.Connection);
    }

    /// <summary>A lease that runs one command after the other is at work, not stuck, though every look finds it busy.</summary>
    [Fact]
    [Trait("Conformance", "89")]
    public async Task Scan_EveryLookFindsAnotherCommand_TakesNothingAway()
    {
        await using var scripted = LeakKit.CreateAbandoning(1, options => (options.Leaks.TerminateRunning, options.Leaks.BusyThreshold) = (true, options.Leaks.Threshold));
        using var lease = await scripted.RentAtAsync(57);
        scripted.Source.SetState(lease.Connection, ConnectionState.Executing);
        var waiting = scripted.BeginPatientRent();

        for (var i = 0; i < 20; i++)
        {
            scripted.Clock.Advance(TimeSpan.FromSeconds(10));
            await lease.CreateCommand().DisposeAsync();
        }

        Assert.Equal((1L, 0L), (scripted.Snapshot.TotalLeaksReported, scripted.Snapshot.TotalReclaimed));
        scripted.Clock.Advance(_patience);
        using var next = await scripted.TickUntilAsync(waiting);
    }
}
