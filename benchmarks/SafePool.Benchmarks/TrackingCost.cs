using System.Diagnostics;
using BenchmarkDotNet.Attributes;
using SafePool.TestKit;

namespace SafePool.Benchmarks;

/// <summary>What an uncontended rent and return costs at each level of <see cref="LeaseTracking"/>, and beside what else makes a rent look closer.</summary>
[MemoryDiagnoser]
public class TrackingCost
{
    private ConnectionPool _pool = null!;
    private Activity? _request;

    public enum Level
    {
        Off,
        CallSite,
        Adaptive,
        AdaptiveInATrace,
        AdaptiveAtAReportedLine,
        OneStackIn1024,
        StackTrace,
        NestedRentsWarn,
    }

    [ParamsAllValues]
    public Level Tracking { get; set; }

    [GlobalSetup]
    public async Task SetUpAsync()
    {
        var database = await TestDatabase.AcquireAsync();
        _pool = ConnectionPool.Create(database.ConnectionString, Configure);
        if (Tracking == Level.AdaptiveInATrace)
        {
            _request = new Activity("request").Start();
        }

        if (Tracking == Level.AdaptiveAtAReportedLine)
        {
            await ReportAsync();
        }

        await RentAsync();
    }

    [GlobalCleanup]
    public async Task CleanUpAsync()
    {
        _request?.Stop();
        await _pool.DisposeAsync();
        await TestDatabase.ShutdownAsync();
    }

    [Benchmark(Description = "await using RentAsync")]
    public async Task RentAsync()
    {
        await using var lease = await _pool.RentAsync(CancellationToken.None, "RentAsync", "TrackingCost.cs", 1);
    }

    private void Configure(ConnectionPoolOptions options)
    {
        options.Leaks.Threshold = TimeSpan.FromMilliseconds(Tracking == Level.AdaptiveAtAReportedLine ? 300 : 30_000);
        options.Leaks.StackTraceSampling = Tracking == Level.OneStackIn1024 ? 1.0 / 1024 : 0;
        options.Leaks.NestedRents = Tracking == Level.NestedRentsWarn ? NestedRentPolicy.Warn : NestedRentPolicy.Off;
        options.Leaks.Tracking = Tracking switch
        {
            Level.Off => LeaseTracking.Off,
            Level.CallSite => LeaseTracking.CallSite,
            Level.StackTrace => LeaseTracking.StackTrace,
            _ => LeaseTracking.Adaptive,
        };
    }

    /// <summary>Holds a lease until it is reported, so that its line is one that has leaked.</summary>
    private async Task ReportAsync()
    {
        await using var lease = await _pool.RentAsync(CancellationToken.None, "RentAsync", "TrackingCost.cs", 1);
        await Eventually.True(() => _pool.GetSnapshot().TotalLeaksReported == 1, "the lease is reported");
    }
}
