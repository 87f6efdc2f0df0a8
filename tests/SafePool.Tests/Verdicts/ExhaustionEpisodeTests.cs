using Microsoft.Extensions.Logging;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Verdicts;

/// <summary>A real server, and a clock that is moved by hand.</summary>
public sealed class ExhaustionEpisodeTests
{
    private const int Callers = 300;
    private const int Dump = 106;
    private const int Flight = 107;
    private const int End = 108;

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);

    [Fact]
    [Trait("Conformance", "92")]
    public async Task Log_HundredsOfCallersFail_TellsOfEachEpisodeOnceAndOfItsEnd()
    {
        var clock = new ManualTimeProvider();
        await using var scene = await Scene.CreateAsync(2, clock: clock);
        var holders = await ExhaustAsync(scene, clock);

        Assert.Equal([Dump, Flight], Episodes(scene).Select(entry => entry.EventId.Id));
        var dump = Episodes(scene)[0];
        Assert.Equal(LogLevel.Warning, dump.Level);
        Assert.StartsWith("Pool 'orders' exhausted: waited 5.0 s; 2 of 2 leased", dump.Message, StringComparison.Ordinal);
        Assert.All(holders, holder => Assert.Contains($"{Environment.NewLine}   lease {holder.Id}, ", dump.Message, StringComparison.Ordinal));
        Assert.Matches(@"s  wait +", Episodes(scene)[1].Message);

        await EndAsync(scene, clock, holders);
        var end = Assert.Single(Episodes(scene), entry => entry.EventId.Id == End);
        Assert.Contains($"{Callers} rents failed", end.Message, StringComparison.Ordinal);

        holders = await ExhaustAsync(scene, clock);
        await EndAsync(scene, clock, holders);
        Assert.Equal([Dump, Flight, End, Dump, Flight, End], Episodes(scene).Select(entry => entry.EventId.Id));
    }

    [Fact]
    public async Task Log_AnEpisodeLasts_IsRepeatedOnceAMinute()
    {
        var clock = new ManualTimeProvider();
        await using var scene = await Scene.CreateAsync(1, clock: clock);
        await using var holder = await scene.Pool.RentAsync(TestContext.Current.CancellationToken);

        for (var second = 0; second < 100; second++)
        {
            await scene.FailAsync<PoolExhaustedException>(TimeSpan.Zero);
            clock.Advance(TimeSpan.FromSeconds(1));
        }

        Assert.Equal([Dump, Flight, Dump, Flight], Episodes(scene).Select(entry => entry.EventId.Id));
    }

    private static async Task<Lease[]> ExhaustAsync(Scene scene, ManualTimeProvider clock)
    {
        var cancellation = TestContext.Current.CancellationToken;
        Lease[] holders = [await scene.Pool.RentAsync(cancellation), await scene.Pool.RentAsync(cancellation)];
        var callers = Enumerable.Range(0, Callers).Select(_ => scene.FailAsync<PoolExhaustedException>(Patience)).ToArray();
        await Eventually.True(() => scene.Snapshot.Waiting == Callers, "all callers wait");
        clock.Advance(Patience);
        await Task.WhenAll(callers);
        return holders;
    }

    private static async Task EndAsync(Scene scene, ManualTimeProvider clock, Lease[] holders)
    {
        foreach (var holder in holders)
        {
            await holder.DisposeAsync();
        }

        // A tick does nothing while the one before is still at it.
        var ended = Episodes(scene).Count(entry => entry.EventId.Id == End);
        clock.Advance(TimeSpan.FromSeconds(6));
        await Eventually.True(
            () =>
            {
                clock.Advance(TimeSpan.FromMilliseconds(250));
                return Episodes(scene).Count(entry => entry.EventId.Id == End) == ended + 1;
            },
            "the episode has ended");
    }

    private static LogEntry[] Episodes(Scene scene)
        => [.. scene.Logs.Entries.Where(entry => entry.EventId.Id is Dump or Flight or End)];
}
