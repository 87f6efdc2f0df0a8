using System.Diagnostics;
using BenchmarkDotNet.Attributes;
using SafePool.TestKit;

namespace SafePool.Benchmarks;

/// <summary>What an uncontended rent and return costs at each level of <see cref="LeaseTracking"/>, and beside what else makes a rent look closer.</summary>
[MemoryDiagnoser]
public class TrackingCost
{
    private ConnectionPool _pool = null!;

    [GlobalSetup(Target = nameof(Off))]
    public Task SetUpOffAsync() => SetUpAsync(leaks => leaks.Tracking = LeaseTracking.Off);

    [GlobalSetup(Target = nameof(CallSite))]
    public Task SetUpCallSiteAsync() => SetUpAsync(leaks => leaks.Tracking = LeaseTracking.CallSite);

    [GlobalSetup(Target = nameof(Adaptive))]
    public Task SetUpAdaptiveAsync() => SetUpAsync(_ => { });

    [GlobalSetup(Target = nameof(AdaptiveInATrace))]
    public Task SetUpTraceAsync()
    {
        new Activity("request").Start();
        return SetUpAsync(_ => { });
    }

    /// <summary>Holds a lease until it is reported, so that the line of the benchmark is one that has leaked.</summary>
    [GlobalSetup(Target = nameof(AdaptiveAtAReportedLine))]
    public async Task SetUpReportedAsync()
    {
        await SetUpAsync(leaks => leaks.Threshold = TimeSpan.FromMilliseconds(300));
        await using var lease = await RentAtTheLineAsync();
        await Eventually.True(() => _pool.GetSnapshot().TotalLeaksReported == 1, "the lease is reported");
    }

    [GlobalSetup(Target = nameof(OneStackIn1024))]
    public Task SetUpSamplingAsync() => SetUpAsync(leaks => leaks.StackTraceSampling = 1.0 / 1024);

    [GlobalSetup(Target = nameof(StackTrace))]
    public Task SetUpStackTraceAsync() => SetUpAsync(leaks => leaks.Tracking = LeaseTracking.StackTrace);

    [GlobalSetup(Target = nameof(NestedRentsWarn))]
    public Task SetUpNestedAsync() => SetUpAsync(leaks => leaks.NestedRents = NestedRentPolicy.Warn);

    [GlobalCleanup]
    public async Task CleanUpAsync()
    {
        await _pool.DisposeAsync();
        await TestDatabase.ShutdownAsync();
    }

    [Benchmark(Baseline = true)]
    public Task Off() => RentAndReturnAsync();

    [Benchmark]
    public Task CallSite() => RentAndReturnAsync();

    [Benchmark(Description = "Adaptive (default)")]
    public Task Adaptive() => RentAndReturnAsync();

    [Benchmark(Description = "Adaptive, inside an Activity")]
    public Task AdaptiveInATrace() => RentAndReturnAsync();

    [Benchmark(Description = "Adaptive, at a line that was reported")]
    public Task AdaptiveAtAReportedLine() => RentAndReturnAsync();

    [Benchmark(Description = "StackTraceSampling 1/1024")]
    public Task OneStackIn1024() => RentAndReturnAsync();

    [Benchmark]
    public Task StackTrace() => RentAndReturnAsync();

    [Benchmark(Description = "NestedRents Warn")]
    public Task NestedRentsWarn() => RentAndReturnAsync();

    private async Task SetUpAsync(Action<LeakOptions> configure)
    {
        var database = await TestDatabase.AcquireAsync();
        _pool = ConnectionPool.Create(database.ConnectionString, options => configure(options.Leaks));
        await RentAndReturnAsync();
    }

    private async Task RentAndReturnAsync()
    {
        await using var lease = await RentAtTheLineAsync();
    }

    private ValueTask<Lease> RentAtTheLineAsync() => _pool.RentAsync();
}
