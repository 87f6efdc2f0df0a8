using SafePool.Renting;

namespace SafePool.Options;

/// <summary>The frozen form of <see cref="LeakOptions"/>.</summary>
internal sealed record LeakSettings(
    TimeSpan Threshold,
    TimeSpan? BusyThresholdSet,
    LeaseTracking Tracking,
    double StackTraceSampling,
    NestedRentPolicy NestedRents,
    TimeSpan? AbandonAfter,
    bool TerminateRunning,
    bool InspectBackends)
{
    private const int BusyFactor = 10;

    public TimeSpan BusyThreshold => BusyThresholdSet ?? (Threshold * BusyFactor);

    public static LeakSettings Of(LeakOptions options)
        => new(
            options.Threshold,
            options.BusyThreshold,
            options.Tracking,
            options.StackTraceSampling,
            options.NestedRents,
            options.AbandonAfter,
            options.TerminateRunning,
            options.InspectBackends);

    public void WriteTo(LeakOptions options)
    {
        options.Threshold = Threshold;
        options.BusyThreshold = BusyThresholdSet;
        options.Tracking = Tracking;
        options.StackTraceSampling = StackTraceSampling;
        options.NestedRents = NestedRents;
        options.AbandonAfter = AbandonAfter;
        options.TerminateRunning = TerminateRunning;
        options.InspectBackends = InspectBackends;
    }

    public static void Check(LeakOptions options, Faults faults)
    {
        faults.UnlessWithin("Leaks.Threshold", options.Threshold, TimeSpan.FromTicks(1), TimeSpan.FromDays(1));
        faults.UnlessDefined("Leaks.Tracking", options.Tracking);
        faults.UnlessDefined("Leaks.NestedRents", options.NestedRents);
        if (options.BusyThreshold is { } busy)
        {
            faults.UnlessWithin("Leaks.BusyThreshold", busy, TimeSpan.FromTicks(1), TimeSpan.FromDays(30));
        }

        if (options.BusyThreshold < options.Threshold)
        {
            faults.Add($"Leaks.BusyThreshold ({options.BusyThreshold}) must not be below Leaks.Threshold ({options.Threshold}). Raise the first or lower the second.");
        }

        if (options.AbandonAfter is { } abandonAfter)
        {
            faults.UnlessWithin("Leaks.AbandonAfter", abandonAfter, TimeSpan.FromTicks(1), TimeSpan.FromDays(1));
            if (abandonAfter < options.Threshold)
            {
                faults.Add($"Leaks.AbandonAfter ({abandonAfter}) must not be below Leaks.Threshold ({options.Threshold}): a lease is suspected before it is abandoned. Raise the first or lower the second.");
            }

            if (options.Tracking == LeaseTracking.Off)
            {
                faults.Add($"Leaks.AbandonAfter ({abandonAfter}) needs Leaks.Tracking other than Off: nobody would learn whose lease was taken away. Set Tracking to CallSite or Adaptive, or leave AbandonAfter null.");
            }
        }
        else if (options.TerminateRunning)
        {
            faults.Add("Leaks.TerminateRunning (True) needs Leaks.AbandonAfter, which is not set. Set it, or leave TerminateRunning false.");
        }

        if (options.StackTraceSampling is not (>= 0 and <= 1))
        {
            faults.Add(string.Create(
                System.Globalization.CultureInfo.InvariantCulture,
                $"Leaks.StackTraceSampling ({options.StackTraceSampling}) must be from 0 to 1."));
        }
        else if (options.StackTraceSampling > 0 && options.Tracking == LeaseTracking.Off)
        {
            faults.Add(string.Create(
                System.Globalization.CultureInfo.InvariantCulture,
                $"Leaks.StackTraceSampling ({options.StackTraceSampling}) needs Leaks.Tracking other than Off. Set it to CallSite or Adaptive."));
        }
    }
}
