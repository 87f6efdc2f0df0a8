using SafePool.ChaosTests.Invariants;

namespace SafePool.ChaosTests.Load;

/// <summary>One pool, with options drawn by lot, and the workers on it.</summary>
internal sealed class Round
{
    private readonly Worker[] _workers;
    private volatile bool _isOver;
    private volatile bool _isClosed;

    public Round(Landscape landscape, Journal journal, int seed)
    {
        Journal = journal;
        var random = new Random(seed);
        var options = Draw(random, landscape.ConnectionString);
        Description =
            $"MaxSize {options.MaxSize}, MinSize {options.MinSize}, MaxWaiters {options.MaxWaiters}, MaxConcurrentOpens {options.MaxConcurrentOpens}, " +
            $"Reset {options.Reset}, AcquireTimeout {options.AcquireTimeout}, ConnectTimeout {options.ConnectTimeout}, IdleTimeout {options.IdleTimeout}, " +
            $"MaxLifetime {options.MaxLifetime}, ProbeAfterIdle {options.ProbeAfterIdle}, ProbeAfterQuiet {options.ProbeAfterQuiet}, " +
            $"WatchServer {options.WatchServer}, Breaker {options.Breaker.Enabled}, hook {options.PhysicalConnectionOpened is not null}";
        (MaxSize, AcquireTimeout, Resets) = (options.MaxSize, options.AcquireTimeout, options.Reset != SessionReset.Rollback);
        Occupancy = new Occupancy(journal, MaxSize);
        Pool = new ConnectionPool(options, new AlarmLog(journal));
        _workers =
        [
            .. Enumerable.Range(0, 16).Select(number => new AsyncWorker(this, number, random.Next())),
            .. Enumerable.Range(0, 4).Select(number => new BlockingWorker(this, number, random.Next())),
        ];
    }

    public ConnectionPool Pool { get; }

    public int MaxSize { get; }

    public TimeSpan AcquireTimeout { get; }

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

    private static ConnectionPoolOptions Draw(Random random, string connectionString)
    {
        var maxSize = random.Next(2, 11);
        var options = new ConnectionPoolOptions
        {
            Name = "chaos",
            ConnectionString = connectionString,
            MaxSize = maxSize,
            MinSize = random.Percent(50) ? 0 : random.Next(maxSize),
            MaxWaiters = random.Of(10, 1000),
            MaxConcurrentOpens = random.Next(1, 5),
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
        options.Breaker.Enabled = random.Percent(75);
        return options;
    }

    private static async ValueTask GreetAsync(Npgsql.NpgsqlConnection connection, CancellationToken cancellationToken)
    {
        await using var command = new Npgsql.NpgsqlCommand("SET application_name = 'chaos greeted'", connection);
        await command.ExecuteNonQueryAsync(cancellationToken);
    }
}
