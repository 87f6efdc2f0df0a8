using Microsoft.Extensions.Logging;
using SafePool.Admission;
using SafePool.Breaker;
using SafePool.Diagnostics;
using SafePool.Driver;
using SafePool.Driver.Hosts;
using SafePool.Driver.Poolers;
using SafePool.Leaks;
using SafePool.Leases;
using SafePool.Lifecycle;
using SafePool.Lifecycle.Failures;
using SafePool.Options;
using SafePool.Telemetry;
using SafePool.Time;

namespace SafePool;

/// <summary>What the rooms of one pool share: its state, and nothing that acts.</summary>
internal sealed class PoolParts
{
    private volatile PoolSettings _settings;

    public PoolParts(
        ConnectionPool pool,
        PoolSettings settings,
        ILogger logger,
        TimeProvider time,
        Func<PhysicalConnections, IConnectionSource>? sourceFactory)
    {
        Telemetry = new PoolTelemetry(this);
        LivePools.Reserve(Telemetry, settings.Name);
        _settings = settings = settings with { DataSourceName = Telemetry.Name };
        Logger = logger;
        Clock = new PoolClock(time);
        Loop = new MaintenanceLoop(pool, Clock);
        Physicals = new PhysicalConnections(settings, Clock);
        Path = new ServerPath();
        Roles = new HostRoles(Clock);
        Hooks = new Hooks(Clock);
        Timeouts = new LeaseTimeouts(settings, Path);
        Failures = new SessionFailures(this);
        Source = sourceFactory?.Invoke(Physicals) ?? MakeSource(settings, time, logger);
        Gate = new AdmissionGate(settings.MaxSize, settings.MaxWaiters, settings.MaxConcurrentOpens);
        Breaker = new CircuitBreaker(settings.Breaker, Clock);
        Room = new ServerRoom(Gate, Clock);
        Opens = new OpenTimes(Clock, Telemetry);
        Watch = new LeaseWatch(settings.Leaks, Clock, Telemetry);
        Ledger = new LeaseLedger(pool, settings.MaxSize, Clock, Watch);
        Exhaustion = new ExhaustionTrip(settings.Breaker, Gate, Ledger, Clock);
        Sampler = new ActivitySampler(Ledger, Source, Clock);
        Inspector = new BackendInspector(Ledger, Source, Clock, settings.Leaks);
        Holders = new Holders(Ledger, Sampler, Inspector, Clock, settings.Leaks);
        Recorder = new FlightRecorder(Ledger, Clock);
        Reports = new LeakReports(settings.Name, logger, Watch, Recorder);
        Totals = new RentTotals();
        Demand = new RecentDemand(Ledger, Totals, Clock);
        Vitals = new PoolVitals(Clock);
        Peak = new PeakUse(Clock);
        Watch.LookForMeters();
        LivePools.Show(Telemetry);
    }

    /// <summary>Puts other settings in force, for those who keep a copy too. One caller at a time.</summary>
    public void Apply(PoolSettings settings)
    {
        _settings = settings;
        Physicals.Apply(settings);
        Breaker.Apply(settings.Breaker);
        Exhaustion.Apply(settings.Breaker);
        Watch.Apply(settings.Leaks);
        Inspector.Apply(settings.Leaks);
        Holders.Apply(settings.Leaks);
        Ledger.Grow(settings.MaxSize);
        Gate.Resize(settings.MaxSize, settings.MaxWaiters, settings.MaxConcurrentOpens);
        Room.Resized();
    }

    /// <summary>What is in force now; replaced as a whole.</summary>
    public PoolSettings Settings => _settings;

    public ILogger Logger { get; }

    public PoolClock Clock { get; }

    public MaintenanceLoop Loop { get; }

    public TimeProvider Time => Clock.Provider;

    public AdmissionGate Gate { get; }

    public IConnectionSource Source { get; }

    public PhysicalConnections Physicals { get; }

    public CircuitBreaker Breaker { get; }

    public ServerRoom Room { get; }

    public ExhaustionTrip Exhaustion { get; }

    public ServerPath Path { get; }

    public HostRoles Roles { get; }

    public Hooks Hooks { get; }

    public LeaseTimeouts Timeouts { get; }

    public OpenTimes Opens { get; }

    public LeaseLedger Ledger { get; }

    public LeaseWatch Watch { get; }

    public ActivitySampler Sampler { get; }

    public BackendInspector Inspector { get; }

    public Holders Holders { get; }

    public FlightRecorder Recorder { get; }

    public LeakReports Reports { get; }

    public RentTotals Totals { get; }

    public RecentDemand Demand { get; }

    public PoolVitals Vitals { get; }

    public PeakUse Peak { get; }

    public PoolTelemetry Telemetry { get; }

    public SessionFailures Failures { get; }

    /// <summary>Nothing that the process keeps refers to the pool any more.</summary>
    public void Leave()
    {
        CommandFailures.Remove(Failures);
        LivePools.Remove(Telemetry);
    }

    private NpgsqlConnectionSource MakeSource(PoolSettings settings, TimeProvider time, ILogger logger)
    {
        CommandFailures.Add(settings.DataSourceName, Failures);
        try
        {
            return new NpgsqlConnectionSource(settings, Path, Physicals, Roles, Hooks, time, logger);
        }
        catch
        {
            // It calls the user.
            Leave();
            throw;
        }
    }
}
