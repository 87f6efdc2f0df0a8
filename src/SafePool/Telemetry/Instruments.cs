using System.Diagnostics;
using System.Diagnostics.Metrics;

namespace SafePool.Telemetry;

/// <summary>Every instrument, with the names and units of OpenTelemetry's semantic conventions for database client connection pools where those have one.</summary>
/// <remarks>Counts are observed: they cost nothing until somebody asks, and those of a pool that is closed are gone. Times are recorded while somebody listens.</remarks>
internal static class Instruments
{
    public const string PoolName = "db.client.connection.pool.name";
    public const string State = "db.client.connection.state";
    public const string CircuitState = "safepool.circuit.state";
    public const string ErrorType = "error.type";

    private static readonly string? _version = typeof(Instruments).Assembly.GetName().Version?.ToString(3);

    // From what an idle connection takes to the longest that callers wait.
    private static readonly double[] _seconds = [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30];
    private static readonly Meter _meter = new(SafePoolTelemetry.MeterName, _version);

    public static readonly ActivitySource Source = new(SafePoolTelemetry.ActivitySourceName, _version);

    public static readonly Histogram<double> CreateTime = Time("db.client.connection.create_time", "How long it took to open a connection, also in vain (error.type).");
    public static readonly Histogram<double> WaitTime = Time("db.client.connection.wait_time", "How long it took to get a lease, also in vain (error.type); zero when one was served at once.");
    public static readonly Histogram<double> UseTime = Time("db.client.connection.use_time", "From the rent of a lease to its return.");

    static Instruments()
    {
        Gauge("db.client.connection.count", "{connection}", "Connections by state.", PerState);
        Gauge("db.client.connection.max", "{connection}", "MaxSize.", pool => pool.Gate.Size);
        Gauge("db.client.connection.idle.max", "{connection}", "How many may be idle: MaxSize.", pool => pool.Gate.Size);
        Gauge("db.client.connection.idle.min", "{connection}", "MinSize.", pool => pool.Settings.MinSize);
        Gauge("db.client.connection.pending_requests", "{request}", "Rents that wait.", pool => pool.Gate.Read().Waiting);
        Total("db.client.connection.timeouts", "{timeout}", "Rents whose budget ran out.", pool => pool.Totals.Timeouts);

        Gauge("safepool.connection.opening", "{connection}", "Opens that are under way.", pool => pool.Gate.Read().Opening);
        Gauge("safepool.connection.quarantined", "{connection}", "Connections that cannot be closed yet.", pool => pool.Gate.Read().Quarantined);
        Gauge("safepool.connection.effective_max", "{connection}", "How many there may be now: fewer than MaxSize while the server has no room for more.", pool => pool.Gate.Limit);
        Gauge("safepool.connection.peak_used", "{connection}", "The most that were leased at once within the last minute, as seen four times a second.", pool => pool.Peak.Read());
        Gauge("safepool.circuit.state", "{circuit}", "1 for the state that the circuit breaker is in, 0 for the others.", PerCircuitState);
        Gauge("safepool.paused", "{pool}", "1 while the pool is paused.", pool => pool.Gate.IsPaused ? 1 : 0);
        Total("safepool.rents", "{rent}", "Rents that were served.", pool => pool.Ledger.TotalRents);
        Total("safepool.rents.rejected", "{rent}", "Rents that were refused at once: the queue was full, or the circuit open.", pool => pool.Totals.Rejected);
        Total("safepool.leaks.reported", "{lease}", "Leases that were reported as overdue, lost or abandoned, each once.", pool => pool.Reports.Total);
        Total("safepool.leaks.reclaimed", "{lease}", "Leases that were taken back from holders who had lost or abandoned them.", pool => pool.Reports.Reclaimed);
    }

    /// <summary>Whether each rent and return is to be timed. One read for each of two instruments.</summary>
    public static bool TimesLeases => WaitTime.Enabled || UseTime.Enabled;

    private static Histogram<double> Time(string name, string description)
        => _meter.CreateHistogram(name, "s", description, tags: null, new InstrumentAdvice<double> { HistogramBucketBoundaries = _seconds });

    private static void Gauge(string name, string unit, string description, Func<PoolParts, long> read)
        => _meter.CreateObservableUpDownCounter(name, () => LivePools.Observe(read), unit, description);

    private static void Gauge(string name, string unit, string description, Func<PoolParts, IEnumerable<(long Value, KeyValuePair<string, object?> Tag)>> read)
        => _meter.CreateObservableUpDownCounter(name, () => LivePools.Observe(read), unit, description);

    private static void Total(string name, string unit, string description, Func<PoolParts, long> read)
        => _meter.CreateObservableCounter(name, () => LivePools.Observe(read), unit, description);

    private static IEnumerable<(long Value, KeyValuePair<string, object?> Tag)> PerState(PoolParts pool)
    {
        var counts = pool.Gate.Read();
        yield return (counts.Idle, new(State, "idle"));
        yield return (counts.Leased, new(State, "used"));
    }

    private static IEnumerable<(long Value, KeyValuePair<string, object?> Tag)> PerCircuitState(PoolParts pool)
    {
        var present = pool.Breaker.State;
        yield return (present == SafePool.CircuitState.Closed ? 1 : 0, new(CircuitState, "closed"));
        yield return (present == SafePool.CircuitState.Open ? 1 : 0, new(CircuitState, "open"));
        yield return (present == SafePool.CircuitState.Probing ? 1 : 0, new(CircuitState, "probing"));
    }
}
