using System.Data;
using Microsoft.Extensions.Logging;
using Npgsql;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Maintenance;

public sealed class IdleSweepTests
{
    private const int TicksPerSecond = 4;

    [Fact]
    public async Task Maintenance_AReturnedConnectionRestsForASecond_SendsItsResetOnceAndFallsSilent()
    {
        await using var scripted = Unprobed.Create();
        await LitterAsync(scripted, 1);

        scripted.Tick();
        scripted.Tick(TicksPerSecond - 1);
        Assert.Equal([1], scripted.Source.LitteredAtRest);
        Assert.Empty(scripted.Source.Executed);
        scripted.Tick();

        Assert.Empty(scripted.Source.LitteredAtRest);
        scripted.Tick(100 * TicksPerSecond);
        Assert.Equal([";"], scripted.Source.Executed);
    }

    [Fact]
    public async Task Maintenance_SeveralRest_FlushesEachOnce()
    {
        await using var scripted = Unprobed.Create();
        await LitterAsync(scripted, 5);

        scripted.Tick(100 * TicksPerSecond);

        Assert.Empty(scripted.Source.LitteredAtRest);
        Assert.Equal(5, scripted.Source.Executed.Count);
        Assert.Equal(5, scripted.Snapshot.Idle);
    }

    [Fact]
    public async Task Maintenance_LeasedAgainAfterAFlush_FlushesAgain()
    {
        await using var scripted = Unprobed.Create();
        await LitterAsync(scripted, 3);
        scripted.Tick(2 * TicksPerSecond);

        await LitterAsync(scripted, 1);
        scripted.Tick(2 * TicksPerSecond);

        // The one in front of it as well: a round may be off by one.
        Assert.Empty(scripted.Source.LitteredAtRest);
        Assert.InRange(scripted.Source.Executed.Count, 4, 5);
    }

    [Fact]
    public async Task Maintenance_PoolIsBusy_FlushesNothing()
    {
        await using var scripted = Unprobed.Create();
        await scripted.FillAsync(4);

        for (var tick = 0; tick < 20 * TicksPerSecond; tick++)
        {
            for (var rent = 0; rent < 4; rent++)
            {
                await LitterAsync(scripted, 1);
            }

            scripted.Tick();
        }

        Assert.Empty(scripted.Source.Executed);
    }

    /// <summary>One rent a tick over twelve connections: each rests for three seconds before it comes round.</summary>
    [Fact]
    public async Task Maintenance_LightTraffic_FlushesAboutOnceForEveryLease()
    {
        await using var scripted = Unprobed.Create();
        await scripted.FillAsync(12);

        for (var tick = 0; tick < 20 * TicksPerSecond; tick++)
        {
            await LitterAsync(scripted, 1);
            scripted.Tick();
            Assert.InRange(scripted.Source.LitteredAtRest.Count, 0, TicksPerSecond + 1);
        }

        scripted.Tick(2 * TicksPerSecond);
        Assert.Empty(scripted.Source.LitteredAtRest);
        Assert.InRange(scripted.Source.Executed.Count, 20 * TicksPerSecond, (20 * TicksPerSecond) + 12 + 20);
    }

    [Fact]
    public async Task Maintenance_TrafficComesRoundWithinASecond_FlushesNothing()
    {
        await using var scripted = Unprobed.Create();
        await scripted.FillAsync(9);

        for (var tick = 0; tick < 20 * TicksPerSecond; tick++)
        {
            await LitterAsync(scripted, 1);
            await LitterAsync(scripted, 1);
            await LitterAsync(scripted, 1);
            scripted.Tick();
        }

        Assert.Empty(scripted.Source.Executed);
    }

    [Fact]
    public async Task Maintenance_SomebodyWaitsDuringTheRound_IsServedAndTheRoundEnds()
    {
        await using var scripted = Unprobed.Create(options => options.MaxSize = 1);
        await LitterAsync(scripted, 1);
        Task<Lease>? rent = null;
        scripted.Source.DuringExecutes = () =>
        {
            rent ??= scripted.BeginRent();
            return Task.CompletedTask;
        };

        scripted.Tick(2 * TicksPerSecond);

        using var lease = await rent!;
        Assert.Equal(1, scripted.Source.NumberOf(lease.Connection));
        Assert.Equal([";"], scripted.Source.Executed);
        Assert.Equal((1, 1), (scripted.Source.PeakAlive, scripted.Snapshot.Leased));
    }

    [Fact]
    public async Task Maintenance_SomebodyWaitsInTheMidstOfARound_TheOthersAreFlushedOnceNobodyDoes()
    {
        await using var scripted = Unprobed.Create(options => options.MaxSize = 3);
        await LitterAsync(scripted, 3);
        List<Lease> leases = [];
        Task<Lease>? waiter = null;
        scripted.Source.DuringExecutes = async () =>
        {
            while (waiter is null)
            {
                var rent = scripted.BeginRent();
                if (!rent.IsCompleted)
                {
                    waiter = rent;
                    break;
                }

                leases.Add(await rent);
            }
        };

        scripted.Tick(TicksPerSecond + 1);
        Assert.Equal([";"], scripted.Source.Executed);
        leases.Add(await waiter!);
        leases.ForEach(lease => scripted.Source.Litter(lease.Connection));
        leases.ForEach(lease => lease.Dispose());
        scripted.Tick(TicksPerSecond + 2);

        Assert.Empty(scripted.Source.LitteredAtRest);
    }

    [Fact]
    public async Task Maintenance_RollbackReset_NeverFlushes()
    {
        await using var scripted = Unprobed.Create(options => options.Reset = SessionReset.Rollback);
        await LitterAsync(scripted, 3);

        scripted.Tick(10 * TicksPerSecond);

        Assert.Empty(scripted.Source.Executed);
    }

    [Fact]
    public async Task Maintenance_TheFlushFails_RetiresTheConnectionAndLosesNoPlace()
    {
        await using var scripted = Unprobed.Create();
        await LitterAsync(scripted, 3);
        scripted.Source.FailExecutesWith = new NpgsqlException("flush");

        scripted.Tick(TicksPerSecond + 1);

        Assert.Equal((0, 0, 0), (scripted.Source.Alive, scripted.Snapshot.Idle, scripted.Snapshot.Leased));
        Assert.DoesNotContain(scripted.Log.Entries, entry => entry.Level >= LogLevel.Warning);
    }

    [Fact]
    public async Task Maintenance_TheCloseAfterAFlushFails_LosesNoPlaceAndFlushesTheOthers()
    {
        await using var scripted = Unprobed.Create();
        await LitterAsync(scripted, 3);
        scripted.Source.FailNextCloseWith(new NpgsqlException("close"));

        scripted.Tick(3 * TicksPerSecond);

        Assert.Empty(scripted.Source.LitteredAtRest);
        Assert.Equal((2, 0), (scripted.Snapshot.Idle, scripted.Snapshot.Leased));
    }

    [Fact]
    public async Task Maintenance_TheServerDoesNotAnswerAFlush_LooksAfterLeasesAllTheSame()
    {
        await using var scripted = Unprobed.Create();
        await LitterAsync(scripted, 2);
        var answer = new TaskCompletionSource();
        scripted.Source.DuringExecutes = () => answer.Task;
        scripted.Tick(TicksPerSecond + 1);
        Assert.Equal((1, 1), (scripted.Snapshot.Idle, scripted.Snapshot.Leased));

        using var held = await scripted.BeginRent();
        scripted.Clock.Advance(TimeSpan.FromSeconds(31));
        Assert.Equal(1, scripted.Snapshot.TotalLeaksReported);
        scripted.Source.DuringExecutes = null;
        answer.SetResult();

        // It was given up after two seconds.
        await scripted.UntilAsync(pool => pool is { Leased: 1, Idle: 0, Quarantined: 0, TotalClosed: 1 });
        scripted.Tick(2 * TicksPerSecond);
        Assert.Empty(scripted.Source.LitteredAtRest);
    }

    [Fact]
    public async Task Maintenance_AReturnDuringTheRound_IsFlushedAMomentLater()
    {
        await using var scripted = Unprobed.Create();
        var leases = await scripted.RentManyAsync(4);
        Array.ForEach(leases[..3], lease => lease.Dispose());
        scripted.Source.Litter(leases[3].Connection);
        scripted.Source.DuringExecutes = () => leases[3].DisposeAsync().AsTask();

        scripted.Tick((2 * TicksPerSecond) + 1);

        Assert.Empty(scripted.Source.LitteredAtRest);
        Assert.InRange(scripted.Source.Executed.Count, 4, 8);
    }

    [Fact]
    public async Task Maintenance_TheUserClosedTheConnectionBeforeTheReturn_IsFlushedAllTheSame()
    {
        await using var scripted = Unprobed.Create();
        var leases = await scripted.RentManyAsync(3);
        Array.ForEach(leases[..2], lease => lease.Dispose());
        scripted.Tick(2 * TicksPerSecond);
        scripted.Source.Litter(leases[2].Connection);
        scripted.Source.SetState(leases[2].Connection, ConnectionState.Closed);
        await LitterAsync(scripted, 1);
        scripted.Tick();

        leases[2].Dispose();
        scripted.Tick(TicksPerSecond + 1);

        Assert.Empty(scripted.Source.LitteredAtRest);
    }

    [Fact]
    public async Task Maintenance_OneOfManyIsTooOld_TheOthersStaySilent()
    {
        await using var scripted = Unprobed.Create(options => (options.MaxLifetime, options.IdleTimeout) = (TimeSpan.FromMinutes(10), Timeout.InfiniteTimeSpan));
        await scripted.FillAsync(10);

        scripted.Tick(15 * 60 * TicksPerSecond);

        Assert.Equal(0, scripted.Source.Alive);
        Assert.Equal(10, scripted.Source.Executed.Count);
    }

    private static async Task LitterAsync(ScriptedPool scripted, int count)
    {
        var leases = await scripted.RentManyAsync(count);
        Array.ForEach(leases, lease => scripted.Source.Litter(lease.Connection));
        Array.ForEach(leases, lease => lease.Dispose());
    }
}
