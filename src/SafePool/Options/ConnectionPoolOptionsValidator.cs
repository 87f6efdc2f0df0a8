using Microsoft.Extensions.Options;
using SafePool.Admission;
using SafePool.Time;

namespace SafePool.Options;

/// <summary>Checks <see cref="ConnectionPoolOptions"/> as a whole: every fault at once, each with the option, its value and the remedy.</summary>
internal sealed class ConnectionPoolOptionsValidator : IValidateOptions<ConnectionPoolOptions>
{
    private static readonly TimeSpan OneDay = TimeSpan.FromDays(1);

    public ValidateOptionsResult Validate(string? name, ConnectionPoolOptions options)
    {
        var faults = new Faults();
        _ = Check(options, faults);
        return faults.Any ? ValidateOptionsResult.Fail(faults.All) : ValidateOptionsResult.Success;
    }

    /// <summary>Turns options into settings, or throws <see cref="OptionsValidationException"/> with every fault.</summary>
    public static PoolSettings Settle(ConnectionPoolOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        var faults = new Faults();
        var settings = Check(options, faults);
        return settings is null || faults.Any
            ? throw new OptionsValidationException(nameof(ConnectionPoolOptions), typeof(ConnectionPoolOptions), faults.All)
            : settings;
    }

    /// <summary>What is wrong with the options of one rent; null when nothing is.</summary>
    public static string? FaultOf(RentOptions options)
    {
        var faults = new Faults();
        if (options.AcquireTimeout is { } timeout && timeout != TimeSpan.Zero)
        {
            faults.UnlessWithin(nameof(options.AcquireTimeout), timeout, TimeSpan.FromTicks(1), OneDay, orInfinite: true);
        }

        faults.UnlessServerTimeout(nameof(options.StatementTimeout), options.StatementTimeout);
        if (options.ExpectedHold is { } hold)
        {
            faults.UnlessWithin(nameof(options.ExpectedHold), hold, TimeSpan.FromTicks(1), TimeSpan.MaxValue);
        }

        return faults.Any ? string.Join(' ', faults.All) : null;
    }

    private static PoolSettings? Check(ConnectionPoolOptions options, Faults faults)
    {
        CheckRanges(options, faults);
        if (ConnectionStringReader.TryRead(options, faults) is not { } text)
        {
            return null;
        }

        var maxSize = text.MaxSize ?? options.MaxSize;
        var minSize = text.MinSize ?? options.MinSize;
        faults.UnlessWithin(nameof(options.MaxSize), maxSize, 1, AdmissionGate.MostPlaces);
        faults.UnlessWithin(nameof(options.MinSize), minSize, 0, AdmissionGate.MostPlaces);
        if (minSize > maxSize)
        {
            faults.Add($"MinSize ({minSize}) must not exceed MaxSize ({maxSize}). Lower the first or raise the second.");
        }

        var connectTimeout = text.ConnectTimeout ?? options.ConnectTimeout;
        faults.UnlessWithin(nameof(options.ConnectTimeout), connectTimeout, TimeSpan.FromTicks(1), TimeSpan.FromSeconds(1024));

        var idleTimeout = text.IdleTimeout ?? options.IdleTimeout;
        var maxLifetime = text.MaxLifetime ?? options.MaxLifetime;
        faults.UnlessWithin(nameof(options.IdleTimeout), idleTimeout, TimeSpan.FromSeconds(1), OneDay, orInfinite: true);
        faults.UnlessWithin(nameof(options.MaxLifetime), maxLifetime, TimeSpan.FromSeconds(1), TimeSpan.FromDays(30), orInfinite: true);
        return faults.Any
            ? null
            : new PoolSettings
            {
                Name = options.Name ?? text.Database,
                ConnectionText = text.WithoutPool(),
                PublicText = text.WithoutPassword(),
                DataSourceString = text.ForDataSource(
                    connectTimeout, withTimeouts: options.Timeouts is TimeoutStrategy.Auto or TimeoutStrategy.Startup),
                BareDataSourceString = text.ForDataSource(connectTimeout, withTimeouts: false),
                Hosts = text.Hosts.Names,
                Target = text.Hosts.Target,
                LoadBalancesHosts = text.Hosts.IsBalanced,
                HostRecheck = text.Hosts.Recheck,
                ConfigureDataSource = options.ConfigureDataSource,
                Enlists = text.Enlist,
                EnlistsAtOnce = text.EnlistsAtOnce,
                MinSize = minSize,
                MaxSize = maxSize,
                MaxWaiters = options.MaxWaiters,
                MaxConcurrentOpens = options.MaxConcurrentOpens,
                ExpectedInstances = options.ExpectedInstances,
                AcquireTimeout = options.AcquireTimeout,
                ConnectTimeout = connectTimeout,
                SessionTimeouts = text.SessionTimeouts,
                Timeouts = options.Timeouts,
                ProbeAfterIdle = options.ProbeAfterIdle,
                ProbeAfterQuiet = options.ProbeAfterQuiet,
                WatchServer = options.WatchServer,
                IdleTimeout = idleTimeout,
                MaxLifetime = maxLifetime,
                Reset = text.Reset ?? options.Reset,
                PhysicalConnectionOpened = options.PhysicalConnectionOpened,
                LeaseRented = options.LeaseRented,
                LeaseReturning = options.LeaseReturning,
                RetireOn = ChosenSqlStates.Of(options),
                Leaks = LeakSettings.Of(options.Leaks),
                Breaker = BreakerSettings.Of(options.Breaker),
            };
    }

    private static void CheckRanges(ConnectionPoolOptions options, Faults faults)
    {
        if (options.Name is { Length: 0 })
        {
            faults.Add("Name is empty. Give it a name, or leave it null for the name of the database.");
        }

        faults.UnlessDefined(nameof(options.Reset), options.Reset);
        faults.UnlessWithin(nameof(options.MaxWaiters), options.MaxWaiters, 0, 1_000_000);
        faults.UnlessWithin(nameof(options.MaxConcurrentOpens), options.MaxConcurrentOpens, 1, 1_000);
        faults.UnlessWithin(nameof(options.AcquireTimeout), options.AcquireTimeout, TimeSpan.FromTicks(1), OneDay, orInfinite: true);
        faults.UnlessWithin(nameof(options.ExpectedInstances), options.ExpectedInstances, 1, 10_000);
        faults.UnlessDefined(nameof(options.Timeouts), options.Timeouts);
        faults.UnlessWithin(nameof(options.ProbeAfterIdle), options.ProbeAfterIdle, TimeSpan.FromSeconds(1), OneDay, orInfinite: true);
        faults.UnlessWithin(nameof(options.ProbeAfterQuiet), options.ProbeAfterQuiet, MaintenanceLoop.Period, OneDay, orInfinite: true);
        ChosenSqlStates.Check(options, faults);
        LeakSettings.Check(options.Leaks, faults);
        BreakerSettings.Check(options.Breaker, faults);
        faults.UnlessServerTimeout(nameof(options.StatementTimeout), options.StatementTimeout);
        faults.UnlessServerTimeout(nameof(options.LockTimeout), options.LockTimeout);
        faults.UnlessServerTimeout(nameof(options.IdleInTransactionTimeout), options.IdleInTransactionTimeout);
        faults.UnlessServerTimeout(nameof(options.TransactionTimeout), options.TransactionTimeout);
    }
}
