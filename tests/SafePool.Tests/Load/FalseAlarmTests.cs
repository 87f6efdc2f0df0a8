using System.Globalization;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.Load;

/// <summary>Real time and real load, so it runs when nothing else does.</summary>
[Collection(nameof(Alone))]
public sealed class FalseAlarmTests(ITestOutputHelper output)
{
    private static readonly int[] _alarms = [100, 101, 103, 105, 106, 112];

    /// <summary>Ten seconds; SAFEPOOL_LOAD_SECONDS says otherwise, and .ci/nightly takes sixty.</summary>
    private static TimeSpan Duration
        => TimeSpan.FromSeconds(int.Parse(Environment.GetEnvironmentVariable("SAFEPOOL_LOAD_SECONDS") ?? "10", CultureInfo.InvariantCulture));

    [Fact]
    public async Task MixedLoad_WithoutALeak_RaisesNoAlarm()
    {
        var seed = Random.Shared.Next();
        await using var server = await PoolOnServer.CreateAsync(options =>
        {
            (options.MaxSize, options.AcquireTimeout) = (8, TimeSpan.FromSeconds(30));
            (options.Leaks.Threshold, options.Leaks.AbandonAfter) = (TimeSpan.FromSeconds(5), TimeSpan.FromSeconds(5));
            (options.Leaks.NestedRents, options.Leaks.InspectBackends) = (NestedRentPolicy.Warn, true);
        });
        using var end = new CancellationTokenSource(Duration, TimeProvider.System);
        var workers = Enumerable.Range(0, 24).Select(worker => new MixedLoad(server.Pool, seed + worker, end.Token)).ToArray();

        await Task.WhenAll(workers.Select(worker => Task.Run(worker.RunAsync)));
        await Outstanding.NoneAsync(server.Pool);

        var totals = server.Snapshot;
        output.WriteLine(
            $"seed {seed}: {workers.Sum(worker => worker.Requests)} requests ({workers.Sum(worker => worker.Cancelled)} given up), " +
            $"{totals.TotalRents} leases, {totals.TotalWaits} waits in {Duration.TotalSeconds} s");
        var alarms = server.Logs.Entries.Where(entry => _alarms.Contains(entry.EventId.Id)).Select(entry => entry.Message).ToArray();
        Assert.True(alarms.Length == 0, $"seed {seed}: {string.Join(Environment.NewLine, alarms)}");
        Assert.Equal((0, 0, 0), (totals.TotalLeaksReported, totals.TotalReclaimed, totals.TotalTimeouts));
        Assert.True(totals.TotalWaits > 0, "nobody ever waited: not much of a load");
    }
}
