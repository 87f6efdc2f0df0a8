using SafePool.ChaosTests.Invariants;

namespace SafePool.ChaosTests.Load;

/// <summary>One pool, with options drawn by lot, and the workers on it.</summary>
internal sealed class Round
{
    private readonly Worker[] _workers;
    private readonly int _minSize;
    private volatile bool _isOver;
    private volatile bool _isClosed;
    private readonly System.Collections.Concurrent.ConcurrentQueue<Func<string>> _evidence = [];
    private int _lost;
    private int _found;

    public Round(Landscape landscape, Journal journal, int seed)
    {
        Journal = journal;
        var random = new Random(seed);
        var options = Draw(random, landscape);
        Description =
            $"MaxSize {options.MaxSize}, MinSize {options.MinSize}, MaxWaiters {options.MaxWaiters}, MaxConcurrentOpens {options.MaxConcurrentOpens}, " +
            $"Reset {options.Reset}, AcquireTimeout {options.AcquireTimeout}, ConnectTimeout {options.ConnectTimeout}, IdleTimeout {options.IdleTimeout}, " +
            $"MaxLifetime {options.MaxLifetime}, ProbeAfterIdle {options.ProbeAfterIdle}, ProbeAfterQuiet {options.ProbeAfterQuiet}, " +
            $"WatchServer {options.WatchServer}, {Describe(options.Breaker)}, StatementTimeout {options.StatementTimeout} {options.Timeouts}, " +
            $"Leaks {options.Leaks.Threshold} {options.Leaks.AbandonAfter}, hook {options.PhysicalConnectionOpened is not null}";
        (MaxSize, _minSize, AcquireTimeout) = (options.MaxSize, options.MinSize, options.AcquireTimeout);
        Resets = options.Reset != SessionReset.Rollback && landscape.Middleman is not { SharesSessions: true };
        TellsErrorsOfOpens = !options.Breaker.Enabled;
        LosesPercent = options.Leaks.AbandonAfter is null ? 0 : 1;
        SetsPerLease = options.StatementTimeout is not null
            && (options.Timeouts == TimeoutStrategy.PerLease || (options.Timeouts == TimeoutStrategy.Auto && landscape.Middleman is not null));
        Occupancy = new Occupancy(journal, MaxSize);
        Pool = new ConnectionPool(options, new AlarmLog(journal, losesLeases: LosesPercent > 0));
        Pool.LeakReported += report => _ = report.Kind is LeakKind.Dropped or LeakKind.Abandoned ? Interlocked.Increment(ref _found) : 0;
        _workers =
        [
            .. Enumerable.Range(0, 16).Select(number => new AsyncWorker(this, number, random.Next())),
            .. Enumerable.Range(0, 4).Select(number => new BlockingWorker(this, number, random.Next())),
        ];
    }

    public ConnectionPool Pool { get; }

    public int MaxSize { get; }

    public TimeSpan AcquireTimeout { get; }

    /// <summary>Gets whether the first who waits is told what an open failed with.</summary>
    public bool TellsErrorsOfOpens { get; }

    /// <summary>Gets whether rents may have to set a timeout.</summary>
    public bool SetsPerLease { get; }

    /// <summary>Gets how many leases in a hundred are lost instead of being returned.</summary>
    public double LosesPercent { get; private set; }

    /// <summary>Gets how many leases were lost.</summary>
    public int Lost => Volatile.Read(ref _lost);

    /// <summary>Gets how many leases were reported as lost.</summary>
    public int Found => Volatile.Read(ref _found);

    /// <summary>Gets whether a return takes away settings and locks.</summary>
    public bool Resets { get; }

    public Journal Journal { get; }

    public Occupancy Occupancy { get; }

    public Stragglers Stragglers { get; } = new();

    public PauseGate Gate { get; } = new();

    /// <summary>Gets the options that were drawn, for the report.</summary>
    public string Description { get; }

    public bool IsOver => _isOver;

    /// <summary>Gets whether the pool is being closed, or is.</summary>
    public bool IsClosed => _isClosed;

    /// <summary>Gets the workers that are not at the gate, and what they are at.</summary>
    public IEnumerable<Worker> Busy => _workers.Where(worker => !worker.IsAtGate);

    /// <summary>What is lost when the pool is closed nobody would look for.</summary>
    public void StopLosing() => LosesPercent = 0;

    /// <summary>Nobody has this one any more. What it was last used for is told if it is not found.</summary>
    public void Lose(Session session)
    {
        Interlocked.Increment(ref _lost);
        var (lost, use, connection) = (session.Lease!.Value.Id, session.Use, new WeakReference<Npgsql.NpgsqlConnection>(session.Connection));
        _evidence.Enqueue(() => $"lease {lost} after {use}, {(connection.TryGetTarget(out var left) ? left.FullState : "collected")}");
    }

    /// <summary>What is known about each lease that was lost.</summary>
    public IEnumerable<string> Losses => _evidence.Select(tell => tell());

    public void Start()
    {
        foreach (var worker in _workers)
        {
            worker.Start();
        }
    }

    /// <summary>Lets the workers end; they must be able to.</summary>
    public Task EndAsync()
    {
        _isOver = true;
        Gate.Open();
        return Task.WhenAll(_workers.Select(worker => worker.Completion));
    }

    /// <summary>Closes the pool, under load if the gate is open.</summary>
    public async Task CloseAsync(bool drains)
    {
        _isClosed = true;
        if (drains)
        {
            await Pool.DrainAsync(TimeSpan.FromMilliseconds(500), CancellationToken.None);
        }

        await Pool.DisposeAsync();
    }

    /// <summary>Gives the pool another size, within its own.</summary>
    public void Resize(Random random) => SetSize(random.Next(Math.Max(1, _minSize), MaxSize + 1));

    /// <summary>Gives it its own again.</summary>
    public void RestoreSize() => SetSize(MaxSize);

    private void SetSize(int size) => Pool.Reconfigure(options => options.MaxSize = size);

    private static ConnectionPoolOptions Draw(Random random, Landscape landscape)
    {
        var maxSize = random.Next(2, 11);
        var options = new ConnectionPoolOptions
        {
            Name = "chaos",
            ConnectionString = landscape.ConnectionString,
            MaxSize = maxSize,
            MinSize = random.Percent(50) ? 0 : random.Next(maxSize),
            MaxWaiters = random.Of(10, 1000),
            MaxConcurrentOpens = random.Of(1, 2, 4, 10),
            AcquireTimeout = random.Milliseconds(200, 2000),
            ConnectTimeout = TimeSpan.FromSeconds(random.Of(1, 2)),
            IdleTimeout = TimeSpan.FromSeconds(random.Of(1, 3, 300)),
            MaxLifetime = TimeSpan.FromSeconds(random.Of(2, 10, 3600)),
            ProbeAfterIdle = TimeSpan.FromSeconds(random.Of(1, 30)),
            ProbeAfterQuiet = TimeSpan.FromSeconds(random.Of(0.25, 1)),
            WatchServer = random.Percent(75),
            Reset = random.Of(SessionReset.Full, SessionReset.Full, SessionReset.Strict, SessionReset.Rollback),
            PhysicalConnectionOpened = random.Percent(25) ? GreetAsync : null,
        };
        DrawBreaker(random, options.Breaker);
        if (random.Percent(40))
        {
            // Above what anybody does with a lease, so that what it ends is what has gone wrong.
            options.StatementTimeout = random.Milliseconds(1000, 10_000);
            options.LockTimeout = TimeSpan.FromSeconds(1);
            options.Timeouts = landscape.Middleman is null
                ? random.Of(TimeoutStrategy.Auto, TimeoutStrategy.Startup, TimeoutStrategy.PerLease, TimeoutStrategy.None)
                : random.Of(TimeoutStrategy.Auto, TimeoutStrategy.PerLease, TimeoutStrategy.None);
        }

        if (random.Percent(30))
        {
            // Leases are held for longer only while something runs on them, which is then no leak.
            options.Leaks.Threshold = TimeSpan.FromSeconds(2);
            options.Leaks.AbandonAfter = TimeSpan.FromSeconds(3);
        }

        return options;
    }

    private static void DrawBreaker(Random random, BreakerOptions options)
    {
        options.Enabled = random.Percent(75);
        options.TripAfter = random.Of(TimeSpan.Zero, random.Milliseconds(100, 5000), TimeSpan.FromSeconds(2));
        options.ProbeInterval = random.Milliseconds(20, 500);
        options.MaxProbeInterval = options.ProbeInterval * random.Next(1, 5);
        options.TripOnExhaustionAfter = random.Percent(30) ? random.Milliseconds(100, 2000) : null;
    }

    private static string Describe(BreakerOptions options)
        => $"Breaker {options.Enabled} after {options.TripAfter} each {options.ProbeInterval} to {options.MaxProbeInterval}, exhausted {options.TripOnExhaustionAfter}";

    private static async ValueTask GreetAsync(Npgsql.NpgsqlConnection connection, CancellationToken cancellationToken)
    {
        await using var command = new Npgsql.NpgsqlCommand("SET application_name = 'chaos greeted'", connection);
        await command.ExecuteNonQueryAsync(cancellationToken);
    }
}
