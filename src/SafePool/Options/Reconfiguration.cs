using SafePool.Renting;

namespace SafePool.Options;

/// <summary>Which options differ between two settings, and which of those may change while the pool lives.</summary>
internal static class Reconfiguration
{
    private static readonly Option[] _options =
    [
        Fixed(nameof(ConnectionPoolOptions.ConnectionString), settings => settings.ConnectionText),
        Fixed(nameof(ConnectionPoolOptions.Name), settings => settings.Name),
        Fixed(nameof(ConnectionPoolOptions.ConfigureDataSource), settings => settings.ConfigureDataSource),
        Live(nameof(ConnectionPoolOptions.MinSize), settings => settings.MinSize, (to, from) => to with { MinSize = from.MinSize }),
        Live(nameof(ConnectionPoolOptions.MaxSize), settings => settings.MaxSize, (to, from) => to with { MaxSize = from.MaxSize }),
        Live(nameof(ConnectionPoolOptions.MaxWaiters), settings => settings.MaxWaiters, (to, from) => to with { MaxWaiters = from.MaxWaiters }),
        Live(nameof(ConnectionPoolOptions.MaxConcurrentOpens), settings => settings.MaxConcurrentOpens, (to, from) => to with { MaxConcurrentOpens = from.MaxConcurrentOpens }),
        Live(nameof(ConnectionPoolOptions.ExpectedInstances), settings => settings.ExpectedInstances, (to, from) => to with { ExpectedInstances = from.ExpectedInstances }),
        Live(nameof(ConnectionPoolOptions.AcquireTimeout), settings => settings.AcquireTimeout, (to, from) => to with { AcquireTimeout = from.AcquireTimeout }),
        Fixed(nameof(ConnectionPoolOptions.ConnectTimeout), settings => settings.ConnectTimeout),
        Fixed(nameof(ConnectionPoolOptions.StatementTimeout), settings => settings.SessionTimeout(SessionTimeoutOptions.StatementTimeout)),
        Fixed(nameof(ConnectionPoolOptions.LockTimeout), settings => settings.SessionTimeout(SessionTimeoutOptions.LockTimeout)),
        Fixed(nameof(ConnectionPoolOptions.IdleInTransactionTimeout), settings => settings.SessionTimeout(SessionTimeoutOptions.IdleInTransactionTimeout)),
        Fixed(nameof(ConnectionPoolOptions.TransactionTimeout), settings => settings.SessionTimeout(SessionTimeoutOptions.TransactionTimeout)),
        Fixed(nameof(ConnectionPoolOptions.Timeouts), settings => settings.Timeouts),
        Live(nameof(ConnectionPoolOptions.ProbeAfterIdle), settings => settings.ProbeAfterIdle, (to, from) => to with { ProbeAfterIdle = from.ProbeAfterIdle }),
        Live(nameof(ConnectionPoolOptions.ProbeAfterQuiet), settings => settings.ProbeAfterQuiet, (to, from) => to with { ProbeAfterQuiet = from.ProbeAfterQuiet }),
        Fixed(nameof(ConnectionPoolOptions.WatchServer), settings => settings.WatchServer),
        Live(nameof(ConnectionPoolOptions.IdleTimeout), settings => settings.IdleTimeout, (to, from) => to with { IdleTimeout = from.IdleTimeout }),
        Live(nameof(ConnectionPoolOptions.MaxLifetime), settings => settings.MaxLifetime, (to, from) => to with { MaxLifetime = from.MaxLifetime }),
        Fixed(nameof(ConnectionPoolOptions.Reset), settings => settings.Reset),
        Fixed(nameof(ConnectionPoolOptions.PhysicalConnectionOpened), settings => settings.PhysicalConnectionOpened),
        Fixed(nameof(ConnectionPoolOptions.LeaseRented), settings => settings.LeaseRented),
        Fixed(nameof(ConnectionPoolOptions.LeaseReturning), settings => settings.LeaseReturning),
        Live(nameof(ConnectionPoolOptions.RetireOn), settings => settings.RetireOn, (to, from) => to with { RetireOn = from.RetireOn }),
        OfLeaks(nameof(LeakOptions.Threshold), leaks => leaks.Threshold, (to, from) => to with { Threshold = from.Threshold }),
        OfLeaks(nameof(LeakOptions.BusyThreshold), leaks => leaks.BusyThresholdSet, (to, from) => to with { BusyThresholdSet = from.BusyThresholdSet }),
        OfLeaks(nameof(LeakOptions.Tracking), leaks => leaks.Tracking, (to, from) => to with { Tracking = from.Tracking }),
        OfLeaks(nameof(LeakOptions.StackTraceSampling), leaks => leaks.StackTraceSampling, (to, from) => to with { StackTraceSampling = from.StackTraceSampling }),
        Fixed("Leaks." + nameof(LeakOptions.NestedRents), settings => settings.Leaks.NestedRents),
        OfLeaks(nameof(LeakOptions.AbandonAfter), leaks => leaks.AbandonAfter, (to, from) => to with { AbandonAfter = from.AbandonAfter }),
        OfLeaks(nameof(LeakOptions.TerminateRunning), leaks => leaks.TerminateRunning, (to, from) => to with { TerminateRunning = from.TerminateRunning }),
        OfLeaks(nameof(LeakOptions.InspectBackends), leaks => leaks.InspectBackends, (to, from) => to with { InspectBackends = from.InspectBackends }),
        OfBreaker(nameof(BreakerOptions.Enabled), breaker => breaker.Enabled, (to, from) => to with { Enabled = from.Enabled }),
        OfBreaker(nameof(BreakerOptions.TripAfter), breaker => breaker.TripAfter, (to, from) => to with { TripAfter = from.TripAfter }),
        OfBreaker(nameof(BreakerOptions.ProbeInterval), breaker => breaker.ProbeInterval, (to, from) => to with { ProbeInterval = from.ProbeInterval }),
        OfBreaker(nameof(BreakerOptions.MaxProbeInterval), breaker => breaker.MaxProbeInterval, (to, from) => to with { MaxProbeInterval = from.MaxProbeInterval }),
        OfBreaker(nameof(BreakerOptions.TripOnExhaustionAfter), breaker => breaker.TripOnExhaustionAfter, (to, from) => to with { TripOnExhaustionAfter = from.TripOnExhaustionAfter }),
    ];

    /// <summary>The names of all options; for the test that none is forgotten.</summary>
    public static IEnumerable<string> Names => _options.Select(option => option.Name);

    /// <summary>Whether an option may change.</summary>
    public static bool IsLive(string name) => _options.Single(option => option.Name == name).Adopt is not null;

    /// <summary>What is to be in force when <paramref name="wanted"/> is asked for: the present settings but for what may change.</summary>
    public static (PoolSettings Settings, ReconfigureResult Result) Merge(PoolSettings present, PoolSettings wanted)
    {
        var differing = _options.Where(option => !Equals(option.Value(present), option.Value(wanted))).ToLookup(option => option.Adopt is not null);
        return (
            differing[true].Aggregate(present, (settings, option) => option.Adopt!(settings, wanted)),
            new ReconfigureResult([.. differing[true].Select(option => option.Name)], [.. differing[false].Select(option => option.Name)]));
    }

    private static Option Fixed(string name, Func<PoolSettings, object?> value) => new(name, value, null);

    private static Option Live(string name, Func<PoolSettings, object?> value, Func<PoolSettings, PoolSettings, PoolSettings> adopt) => new(name, value, adopt);

    private static Option OfLeaks(string name, Func<LeakSettings, object?> value, Func<LeakSettings, LeakSettings, LeakSettings> adopt)
        => Live("Leaks." + name, settings => value(settings.Leaks), (to, from) => to with { Leaks = adopt(to.Leaks, from.Leaks) });

    private static Option OfBreaker(string name, Func<BreakerSettings, object?> value, Func<BreakerSettings, BreakerSettings, BreakerSettings> adopt)
        => Live("Breaker." + name, settings => value(settings.Breaker), (to, from) => to with { Breaker = adopt(to.Breaker, from.Breaker) });

    private sealed record Option(string Name, Func<PoolSettings, object?> Value, Func<PoolSettings, PoolSettings, PoolSettings>? Adopt);
}
