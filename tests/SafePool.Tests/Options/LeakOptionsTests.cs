using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Options;

public sealed class LeakOptionsTests
{
    public static TheoryData<string, Action<LeakOptions>, string> Faults { get; } = new()
    {
        { "Leaks.Threshold", leaks => leaks.Threshold = TimeSpan.Zero, "Leaks.Threshold (00:00:00) must be more than zero and at most 1.00:00:00." },
        { "Leaks.Threshold", leaks => leaks.Threshold = TimeSpan.FromDays(2), "Leaks.Threshold (2.00:00:00) must be more than zero and at most 1.00:00:00." },
        { "Leaks.Threshold", leaks => leaks.Threshold = Timeout.InfiniteTimeSpan, "Leaks.Threshold (-00:00:00.0010000) must be more than zero and at most 1.00:00:00." },
        { "Leaks.BusyThreshold", leaks => leaks.BusyThreshold = TimeSpan.FromDays(31), "Leaks.BusyThreshold (31.00:00:00) must be more than zero and at most 30.00:00:00." },
        { "Leaks.BusyThreshold", leaks => leaks.BusyThreshold = TimeSpan.FromSeconds(29), "Leaks.BusyThreshold (00:00:29) must not be below Leaks.Threshold (00:00:30). Raise the first or lower the second." },
        { "Leaks.Tracking", leaks => leaks.Tracking = (LeaseTracking)7, "Leaks.Tracking (7) is not one of Off, CallSite, Adaptive, StackTrace." },
        { "Leaks.NestedRents", leaks => leaks.NestedRents = (NestedRentPolicy)7, "Leaks.NestedRents (7) is not one of Off, Warn, Throw." },
        { "Leaks.AbandonAfter", leaks => leaks.AbandonAfter = TimeSpan.FromDays(2), "Leaks.AbandonAfter (2.00:00:00) must be more than zero and at most 1.00:00:00." },
        { "Leaks.AbandonAfter", leaks => leaks.AbandonAfter = TimeSpan.FromSeconds(29), "Leaks.AbandonAfter (00:00:29) must not be below Leaks.Threshold (00:00:30): a lease is suspected before it is abandoned. Raise the first or lower the second." },
        { "Leaks.AbandonAfter", AbandonWithoutTracking, "Leaks.AbandonAfter (00:01:00) needs Leaks.Tracking other than Off: nobody would learn whose lease was taken away. Set Tracking to CallSite or Adaptive, or leave AbandonAfter null." },
        { "Leaks.TerminateRunning", leaks => leaks.TerminateRunning = true, "Leaks.TerminateRunning (True) needs Leaks.AbandonAfter, which is not set. Set it, or leave TerminateRunning false." },
        { "Leaks.StackTraceSampling", leaks => leaks.StackTraceSampling = 1.5, "Leaks.StackTraceSampling (1.5) must be from 0 to 1." },
        { "Leaks.StackTraceSampling", leaks => leaks.StackTraceSampling = -0.1, "Leaks.StackTraceSampling (-0.1) must be from 0 to 1." },
        { "Leaks.StackTraceSampling", leaks => leaks.StackTraceSampling = double.NaN, "Leaks.StackTraceSampling (NaN) must be from 0 to 1." },
        { "Leaks.StackTraceSampling", SampleWithoutTracking, "Leaks.StackTraceSampling (0.5) needs Leaks.Tracking other than Off. Set it to CallSite or Adaptive." },
    };

    public static TheoryData<string, Action<LeakOptions>> Setters { get; } = new()
    {
        { nameof(LeakOptions.Threshold), leaks => leaks.Threshold = TimeSpan.FromSeconds(1) },
        { nameof(LeakOptions.BusyThreshold), leaks => leaks.BusyThreshold = TimeSpan.FromHours(1) },
        { nameof(LeakOptions.Tracking), leaks => leaks.Tracking = LeaseTracking.StackTrace },
        { nameof(LeakOptions.StackTraceSampling), leaks => leaks.StackTraceSampling = 0.5 },
        { nameof(LeakOptions.NestedRents), leaks => leaks.NestedRents = NestedRentPolicy.Throw },
        { nameof(LeakOptions.AbandonAfter), leaks => leaks.AbandonAfter = TimeSpan.FromHours(1) },
        { nameof(LeakOptions.TerminateRunning), leaks => leaks.TerminateRunning = false },
        { nameof(LeakOptions.InspectBackends), leaks => leaks.InspectBackends = true },
    };

    [Theory]
    [MemberData(nameof(Faults), DisableDiscoveryEnumeration = true)]
    public void Settle_AFault_NamesTheOptionItsValueAndTheRemedy(string option, Action<LeakOptions> configure, string fault)
    {
        Assert.Equal(fault, Assert.Single(OptionsKit.Faults(options => configure(options.Leaks))));
        Assert.StartsWith($"{option} (", fault, StringComparison.Ordinal);
    }

    [Fact]
    public void Settle_SeveralFaults_ListsAll()
    {
        var faults = OptionsKit.Faults(options =>
        {
            options.Leaks.BusyThreshold = TimeSpan.FromSeconds(1);
            options.Leaks.AbandonAfter = TimeSpan.FromSeconds(2);
            options.Leaks.StackTraceSampling = 2;
        });

        Assert.Equal(3, faults.Count);
    }

    [Fact]
    public void Settle_Defaults_AreThoseOfTheDocumentation()
    {
        var leaks = OptionsKit.Settle().Leaks;

        Assert.Equal((TimeSpan.FromSeconds(30), TimeSpan.FromMinutes(5), LeaseTracking.Adaptive), (leaks.Threshold, leaks.BusyThreshold, leaks.Tracking));
        Assert.Equal((0.0, NestedRentPolicy.Off, null, false, false), (leaks.StackTraceSampling, leaks.NestedRents, leaks.AbandonAfter, leaks.TerminateRunning, leaks.InspectBackends));
    }

    [Fact]
    public void Settle_TheEdgesOfEveryRange_AreAccepted()
    {
        var leaks = OptionsKit.Settle(configure: options =>
        {
            (options.Leaks.Threshold, options.Leaks.BusyThreshold, options.Leaks.AbandonAfter) = (TimeSpan.FromDays(1), TimeSpan.FromDays(30), TimeSpan.FromDays(1));
            (options.Leaks.StackTraceSampling, options.Leaks.TerminateRunning) = (1, true);
        }).Leaks;

        Assert.Equal((TimeSpan.FromDays(30), TimeSpan.FromDays(1), 1.0), (leaks.BusyThreshold, leaks.AbandonAfter, leaks.StackTraceSampling));
    }

    [Theory]
    [MemberData(nameof(Setters), DisableDiscoveryEnumeration = true)]
    public void Set_AfterThePoolWasBuilt_Throws(string option, Action<LeakOptions> set)
    {
        var options = new ConnectionPoolOptions { ConnectionString = "Host=db;Database=orders" };
        set(options.Leaks);
        using var pool = new ConnectionPool(options, timeProvider: new ManualTimeProvider());

        var error = Record.Exception(() => set(options.Leaks));

        Assert.True(error is InvalidOperationException, $"{option} can be changed.");
    }

    private static void AbandonWithoutTracking(LeakOptions leaks)
        => (leaks.AbandonAfter, leaks.Tracking) = (TimeSpan.FromMinutes(1), LeaseTracking.Off);

    private static void SampleWithoutTracking(LeakOptions leaks) => (leaks.StackTraceSampling, leaks.Tracking) = (0.5, LeaseTracking.Off);
}
