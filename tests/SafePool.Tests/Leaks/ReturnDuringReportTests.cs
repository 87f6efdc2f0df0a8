using SafePool.Logging;
using SafePool.TestKit;
using SafePool.Time;
using Xunit;

namespace SafePool.Tests.Leaks;

/// <summary>Leases that come back in the very moment in which a look finds them overdue.</summary>
public sealed class ReturnDuringReportTests(ITestOutputHelper output)
{
    private const int Workers = 3;
    private const int RentsOfEach = 4_000;

    /// <summary>Each is either not reported, or reported and said to have returned; and none that came back is reported after its return.</summary>
    [Fact]
    [Trait("Conformance", "86")]
    public async Task Return_WhileALookFindsTheLeaseOverdue_IsSaidExactlyWhenItWasReported()
    {
        var seed = Random.Shared.Next();
        output.WriteLine($"Seed {seed}");
        await using var scripted = ScriptedPool.Create(options =>
        {
            (options.MaxSize, options.Leaks.Threshold) = (Workers, MaintenanceLoop.Period);

            // Hours pass here, and no connection shall be opened meanwhile.
            (options.IdleTimeout, options.MaxLifetime) = (Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        });
        await scripted.FillAsync(Workers);

        var workers = Enumerable.Range(0, Workers).Select(worker => Task.Run(() => WorkAsync(scripted, new Random(seed + worker)))).ToArray();
        var all = Task.WhenAll(workers);
        while (!all.IsCompleted)
        {
            scripted.Tick();
        }

        await all;
        var reported = scripted.Log.Said(LeakKit.Leak).Select(LeakKit.LeaseIn).Order().ToArray();
        var returned = scripted.Log.Said(LeakKit.ReturnedAfterAll).Select(LeakKit.LeaseIn).Order().ToArray();
        output.WriteLine($"{reported.Length} of {scripted.Snapshot.TotalRents} leases were reported.");
        Assert.NotEmpty(reported);
        Assert.Equal(reported.Distinct(), reported);
        Assert.Equal(reported, returned);
        Assert.Equal(reported.Length, scripted.Snapshot.TotalLeaksReported);
    }

    private static async Task WorkAsync(ScriptedPool scripted, Random random)
    {
        for (var i = 0; i < RentsOfEach; i++)
        {
            var lease = await scripted.RentAtAsync(57, new RentOptions { AcquireTimeout = Timeout.InfiniteTimeSpan });
            Thread.SpinWait(random.Next(2_000));
            lease.Dispose();
        }
    }
}
