using Npgsql;
using OpenTelemetry.Metrics;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Telemetry;

/// <summary>Through the OpenTelemetry SDK, as a service would see it. Alone: a meter that listens times the leases of every pool in the process.</summary>
[CollectionDefinition("Telemetry", DisableParallelization = true)]
[Collection("Telemetry")]
public sealed class MetricsTests
{
    // Names, kinds and units as OpenTelemetry's conventions for database client metrics have them; then our own.
    private static readonly (string Name, MetricType Type, string Unit)[] _instruments =
    [
        ("db.client.connection.count", MetricType.LongSumNonMonotonic, "{connection}"),
        ("db.client.connection.create_time", MetricType.Histogram, "s"),
        ("db.client.connection.idle.max", MetricType.LongSumNonMonotonic, "{connection}"),
        ("db.client.connection.idle.min", MetricType.LongSumNonMonotonic, "{connection}"),
        ("db.client.connection.max", MetricType.LongSumNonMonotonic, "{connection}"),
        ("db.client.connection.pending_requests", MetricType.LongSumNonMonotonic, "{request}"),
        ("db.client.connection.timeouts", MetricType.LongSum, "{timeout}"),
        ("db.client.connection.use_time", MetricType.Histogram, "s"),
        ("db.client.connection.wait_time", MetricType.Histogram, "s"),
        ("safepool.circuit.state", MetricType.LongSumNonMonotonic, "{circuit}"),
        ("safepool.connection.effective_max", MetricType.LongSumNonMonotonic, "{connection}"),
        ("safepool.connection.opening", MetricType.LongSumNonMonotonic, "{connection}"),
        ("safepool.connection.peak_used", MetricType.LongSumNonMonotonic, "{connection}"),
        ("safepool.connection.quarantined", MetricType.LongSumNonMonotonic, "{connection}"),
        ("safepool.leaks.reclaimed", MetricType.LongSum, "{lease}"),
        ("safepool.leaks.reported", MetricType.LongSum, "{lease}"),
        ("safepool.paused", MetricType.LongSumNonMonotonic, "{pool}"),
        ("safepool.rents", MetricType.LongSum, "{rent}"),
        ("safepool.rents.rejected", MetricType.LongSum, "{rent}"),
    ];

    private static readonly CancellationToken _test = TestContext.Current.CancellationToken;

    /// <summary>The names that exist, for those who check what dashboards and alerts refer to.</summary>
    public static IReadOnlyList<(string Name, MetricType Type, string Unit)> Instruments => _instruments;

    [Fact]
    [Trait("Conformance", "96")]
    public async Task Export_OfAPoolThatDidEverything_HasTheNamesKindsUnitsAndAttributesOfTheConventions()
    {
        using var meters = new MeterReader();
        await using var scripted = ScriptedPool.Create(options => (options.Name, options.MaxSize, options.MinSize) = ("everything", 3, 1));
        await scripted.FillAsync(2);

        var points = meters.Read("everything");

        Assert.Equal(_instruments, points.Select(point => (point.Name, point.Type, point.Unit)).Distinct().OrderBy(point => point.Name, StringComparer.Ordinal));
        Assert.All(points, point => Assert.Equal(AttributesOf(point.Name), point.Tags.Keys.Where(key => key != "db.client.connection.pool.name")));
        Assert.Equal((3, 1, 3), (Value(points, "db.client.connection.max"), Value(points, "db.client.connection.idle.min"), Value(points, "db.client.connection.idle.max")));
    }

    [Fact]
    [Trait("Conformance", "96")]
    public async Task Export_OfRentsThatWaitSucceedAndFail_TellsHowLongAndHowMany()
    {
        using var meters = new MeterReader();
        await using var scripted = ScriptedPool.Create(options => (options.Name, options.MaxSize, options.MaxWaiters) = ("waits", 1, 2));
        var lease = await scripted.Pool.RentAsync(_test);
        Task<Lease>[] waiting = [scripted.BeginRent(), scripted.BeginRent(TimeSpan.FromSeconds(1))];
        await Assert.ThrowsAsync<PoolRejectedException>(() => scripted.BeginRent());
        Assert.Equal((2, 1, 0), (Value(meters.Read("waits"), "db.client.connection.pending_requests"), Used(meters), Idle(meters)));

        scripted.Clock.Advance(TimeSpan.FromSeconds(1));
        await Assert.ThrowsAsync<PoolExhaustedException>(() => waiting[1]);
        scripted.Clock.Advance(TimeSpan.FromSeconds(2));
        await lease.DisposeAsync();
        await (await waiting[0]).DisposeAsync();
        await (await scripted.Pool.RentAsync(_test)).DisposeAsync();

        var points = meters.Read("waits");
        Assert.Equal((1, 1, 3), (Value(points, "db.client.connection.timeouts"), Value(points, "safepool.rents.rejected"), Value(points, "safepool.rents")));
        Assert.Equal(0, Value(points, "db.client.connection.pending_requests"));
        var waits = points.Where(point => point.Name == "db.client.connection.wait_time").ToDictionary(point => point.Tag("error.type") ?? "", point => (point.Value, point.Count));
        Assert.Equal((3.0, 3), waits[""]);
        Assert.Equal((1.0, 1), waits["SafePool.PoolExhaustedException"]);
        Assert.Equal((0.0, 1), waits["SafePool.PoolRejectedException"]);
        var uses = Assert.Single(points, point => point.Name == "db.client.connection.use_time");
        Assert.Equal((3.0, 3), (uses.Value, uses.Count));

        double Used(MeterReader reader) => CountOf(reader.Read("waits"), "used");
        double Idle(MeterReader reader) => CountOf(reader.Read("waits"), "idle");
    }

    [Fact]
    [Trait("Conformance", "96")]
    public async Task Export_OfOpens_TellsHowLongTheyTookAndWhichFailed()
    {
        using var meters = new MeterReader();
        await using var scripted = ScriptedPool.Create(options => (options.Name, options.Breaker.Enabled) = ("opens", false));
        scripted.Source.HoldOpens = true;
        var waiting = scripted.BeginRent();
        await scripted.Source.PendingOpensReachAsync(1);
        scripted.Clock.Advance(TimeSpan.FromMilliseconds(700));
        scripted.Source.CompleteNextOpen();
        var lease = await waiting;
        var failing = scripted.BeginRent();
        await scripted.Source.PendingOpensReachAsync(1);
        scripted.Source.FailNextOpen(new NpgsqlException("refused", new System.Net.Sockets.SocketException(111)));
        await Assert.ThrowsAsync<NpgsqlException>(() => failing);
        await lease.DisposeAsync();

        var opens = meters.Read("opens").Where(point => point.Name == "db.client.connection.create_time")
            .ToDictionary(point => point.Tag("error.type") ?? "", point => (Math.Round(point.Value, 3), point.Count));

        Assert.Equal((0.7, 1), opens[""]);
        Assert.Equal((0.0, 1), opens["Npgsql.NpgsqlException"]);
    }

    [Fact]
    [Trait("Conformance", "95")]
    public async Task Export_AfterChurn_HasEveryGaugeBackAtZero()
    {
        using var meters = new MeterReader();
        await using var scripted = ScriptedPool.Create(options => (options.Name, options.MaxSize, options.MaxWaiters) = ("churn", 3, 2));
        var seed = Random.Shared.Next();
        TestContext.Current.TestOutputHelper!.WriteLine($"seed {seed}");
        await Task.WhenAll(Enumerable.Range(0, 6).Select(worker => Task.Run(() => ChurnAsync(scripted, new Random(seed + worker)), _test)));
        scripted.Pool.Clear();
        await scripted.UntilAsync(pool => pool is { Opening: 0, Quarantined: 0, Leased: 0 });
        scripted.Clock.Advance(TimeSpan.FromMinutes(2));

        var points = meters.Read("churn");

        string[] gauges = ["db.client.connection.count", "db.client.connection.pending_requests", "safepool.connection.opening", "safepool.connection.quarantined", "safepool.connection.peak_used"];
        Assert.All(gauges, gauge => Assert.All(points.Where(point => point.Name == gauge), point => Assert.Equal((gauge, 0), (gauge, point.Value))));
        Assert.Equal(scripted.Snapshot.TotalRents, Value(points, "safepool.rents"));
        Assert.Equal(scripted.Snapshot.TotalRents, points.Single(point => point.Name == "db.client.connection.use_time").Count);
    }

    [Fact]
    [Trait("Conformance", "97")]
    public async Task Export_AfterThePoolIsClosed_HasNothingOfItsCounts()
    {
        using var meters = new MeterReader();
        var scripted = ScriptedPool.Create(options => options.Name = "closed");
        await scripted.FillAsync(1);
        Assert.Equal(1, CountOf(meters.Read("closed"), "idle"));

        await scripted.DisposeAsync();

        Assert.DoesNotContain(meters.Read("closed"), point => point.Type != MetricType.Histogram);
    }

    [Fact]
    [Trait("Conformance", "97")]
    public async Task Export_OfTwoPoolsWithOneName_TellsThemApartAndTheNameIsFreeAgainAfterwards()
    {
        using var meters = new MeterReader();
        await using var first = ScriptedPool.Create(options => options.Name = "twin");
        var second = ScriptedPool.Create(options => options.Name = "twin");
        await first.FillAsync(1);
        await second.FillAsync(2);

        Assert.Equal((1, 2), (CountOf(meters.Read("twin"), "idle"), CountOf(meters.Read("twin-2"), "idle")));
        await second.DisposeAsync();
        await using var third = ScriptedPool.Create(options => options.Name = "twin");
        await third.FillAsync(3);

        Assert.Equal((1, 3), (CountOf(meters.Read("twin"), "idle"), CountOf(meters.Read("twin-2"), "idle")));
    }

    [Fact]
    public async Task Export_TheStateOfTheCircuitAndOfAPause_IsOneForThePresentOne()
    {
        using var meters = new MeterReader();
        await using var scripted = ScriptedPool.Create(options => (options.Name, options.Breaker.TripAfter) = ("circuit", TimeSpan.Zero));
        Assert.Equal((1, 0, 0), States());

        scripted.Source.FailOpensWith = new NpgsqlException("refused", new System.Net.Sockets.SocketException(111));
        await Assert.ThrowsAnyAsync<PoolException>(() => scripted.BeginRent());
        Assert.Equal((0, 1, 0), States());
        await scripted.Pool.PauseAsync(_test);
        Assert.Equal(1, Value(meters.Read("circuit"), "safepool.paused"));

        (double Closed, double Open, double Probing) States()
        {
            var states = meters.Read("circuit").Where(point => point.Name == "safepool.circuit.state").ToDictionary(point => point.Tag("safepool.circuit.state")!, point => point.Value);
            return (states["closed"], states["open"], states["probing"]);
        }
    }

    private static async Task ChurnAsync(ScriptedPool scripted, Random random)
    {
        for (var i = 0; i < 300; i++)
        {
            try
            {
                await using var lease = await scripted.Pool.RentAsync(_test);
                if (random.Next(10) == 0)
                {
                    scripted.Source.Break(lease.Connection);
                }

                await Task.Yield();
            }
            catch (PoolRejectedException)
            {
                await Task.Yield();
            }
        }
    }

    private static IEnumerable<string> AttributesOf(string instrument) => instrument switch
    {
        "db.client.connection.count" => ["db.client.connection.state"],
        "safepool.circuit.state" => ["safepool.circuit.state"],
        _ => [],
    };

    private static double Value(IReadOnlyList<MetricPointSeen> points, string name) => points.Single(point => point.Name == name).Value;

    private static double CountOf(IReadOnlyList<MetricPointSeen> points, string state)
        => points.Single(point => point.Name == "db.client.connection.count" && point.Tag("db.client.connection.state") == state).Value;
}
