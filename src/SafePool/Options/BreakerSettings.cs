namespace SafePool.Options;

/// <summary>The frozen form of <see cref="BreakerOptions"/>.</summary>
internal sealed record BreakerSettings(
    bool Enabled, TimeSpan TripAfter, TimeSpan ProbeInterval, TimeSpan MaxProbeInterval, TimeSpan? TripOnExhaustionAfter)
{
    public static BreakerSettings Of(BreakerOptions options)
        => new(options.Enabled, options.TripAfter, options.ProbeInterval, options.MaxProbeInterval, options.TripOnExhaustionAfter);

    public void WriteTo(BreakerOptions options)
    {
        options.Enabled = Enabled;
        options.TripAfter = TripAfter;
        options.ProbeInterval = ProbeInterval;
        options.MaxProbeInterval = MaxProbeInterval;
        options.TripOnExhaustionAfter = TripOnExhaustionAfter;
    }

    public static void Check(BreakerOptions options, Faults faults)
    {
        faults.UnlessWithin("Breaker.TripAfter", options.TripAfter, TimeSpan.Zero, TimeSpan.FromDays(1));
        faults.UnlessWithin("Breaker.ProbeInterval", options.ProbeInterval, TimeSpan.FromTicks(1), TimeSpan.FromHours(1));
        faults.UnlessWithin("Breaker.MaxProbeInterval", options.MaxProbeInterval, TimeSpan.FromTicks(1), TimeSpan.FromHours(1));
        if (options.ProbeInterval > options.MaxProbeInterval)
        {
            faults.Add($"Breaker.ProbeInterval ({options.ProbeInterval}) must not exceed Breaker.MaxProbeInterval ({options.MaxProbeInterval}). Lower the first or raise the second.");
        }

        if (options.TripOnExhaustionAfter is { } after)
        {
            faults.UnlessWithin("Breaker.TripOnExhaustionAfter", after, TimeSpan.FromTicks(1), TimeSpan.FromDays(1));
        }
    }
}
