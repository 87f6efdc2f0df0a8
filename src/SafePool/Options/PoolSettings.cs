using Npgsql;

namespace SafePool.Options;

/// <summary>The frozen, validated form of <see cref="ConnectionPoolOptions"/>: what everything inside reads.</summary>
internal sealed record PoolSettings
{
    /// <summary>How long a return waits for a command of another flow, or for the rest of a cancelled result, before it stops being polite.</summary>
    public static readonly TimeSpan ReturnPatience = TimeSpan.FromSeconds(2);

    /// <summary>How long a place may be quarantined: then its connection is written off, and the place is free whatever becomes of it.</summary>
    public static readonly TimeSpan QuarantineBound = TimeSpan.FromSeconds(30);

    public required string Name { get; init; }

    /// <summary>What Npgsql's meter calls it: <see cref="Name"/>, once the pool has made that unique in the process.</summary>
    public string DataSourceName { get => field ?? Name; init; }

    /// <summary>As given, without what it says about the pool. Holds the password.</summary>
    public required string ConnectionText { get; init; }

    /// <summary>As given, without the password: what users may read.</summary>
    public required string PublicText { get; init; }

    /// <summary>The hosts of the connection string, in its order.</summary>
    public required IReadOnlyList<HostName> Hosts { get; init; }

    /// <summary>What role a session's server must have, or had better have.</summary>
    public required TargetSessionAttributes Target { get; init; }

    /// <summary>The connections are spread over the hosts that fit.</summary>
    public required bool LoadBalancesHosts { get; init; }

    /// <summary>For how long a host that failed, or had the wrong role, is tried after the others.</summary>
    public required TimeSpan HostRecheck { get; init; }

    /// <summary>For Npgsql: with everything in it that makes Npgsql's own pool obey (design decision D1). Leads to the first host. Holds the password.</summary>
    public required string DataSourceString { get; init; }

    /// <summary>The same without the session timeouts, for a pooler that refuses them. Holds the password.</summary>
    public required string BareDataSourceString { get; init; }

    public required Action<NpgsqlDataSourceBuilder>? ConfigureDataSource { get; init; }

    /// <summary>A rent within an ambient transaction is a part of it.</summary>
    public required bool Enlists { get; init; }

    /// <summary>The same, and the connection string says so: such rents are to be expected.</summary>
    public required bool EnlistsAtOnce { get; init; }

    public required int MinSize { get; init; }

    public required int MaxSize { get; init; }

    public required int MaxWaiters { get; init; }

    public required int MaxConcurrentOpens { get; init; }

    public required int ExpectedInstances { get; init; }

    public required TimeSpan AcquireTimeout { get; init; }

    public required TimeSpan ConnectTimeout { get; init; }

    public required IReadOnlyList<SessionTimeout> SessionTimeouts { get; init; }

    public required TimeoutStrategy Timeouts { get; init; }

    public required TimeSpan ProbeAfterIdle { get; init; }

    public required TimeSpan ProbeAfterQuiet { get; init; }

    public required bool WatchServer { get; init; }

    public required TimeSpan IdleTimeout { get; init; }

    public required TimeSpan MaxLifetime { get; init; }

    public required SessionReset Reset { get; init; }

    public required Func<NpgsqlConnection, CancellationToken, ValueTask>? PhysicalConnectionOpened { get; init; }

    public required Func<NpgsqlConnection, CancellationToken, ValueTask>? LeaseRented { get; init; }

    public required Func<NpgsqlConnection, CancellationToken, ValueTask>? LeaseReturning { get; init; }

    public required ChosenSqlStates RetireOn { get; init; }

    public required LeakSettings Leaks { get; init; }

    public required BreakerSettings Breaker { get; init; }

    /// <summary>How long one host may take to let a session in: one that is silent must not use up the time of the others.</summary>
    public TimeSpan TimeoutForEachHost => ConnectTimeout / Hosts.Count;

    /// <summary>One of the session timeouts; null when it is not set.</summary>
    public TimeSpan? SessionTimeout(string parameter) => SessionTimeouts.FirstOrDefault(timeout => timeout.Parameter == parameter)?.Value;

    /// <summary>Options that settle to these.</summary>
    public ConnectionPoolOptions ToOptions()
    {
        var options = new ConnectionPoolOptions
        {
            ConnectionString = ConnectionText,
            Name = Name,
            ConfigureDataSource = ConfigureDataSource,
            MinSize = MinSize,
            MaxSize = MaxSize,
            MaxWaiters = MaxWaiters,
            MaxConcurrentOpens = MaxConcurrentOpens,
            ExpectedInstances = ExpectedInstances,
            AcquireTimeout = AcquireTimeout,
            ConnectTimeout = ConnectTimeout,
            StatementTimeout = SessionTimeout(SessionTimeoutOptions.StatementTimeout),
            LockTimeout = SessionTimeout(SessionTimeoutOptions.LockTimeout),
            IdleInTransactionTimeout = SessionTimeout(SessionTimeoutOptions.IdleInTransactionTimeout),
            TransactionTimeout = SessionTimeout(SessionTimeoutOptions.TransactionTimeout),
            Timeouts = Timeouts,
            ProbeAfterIdle = ProbeAfterIdle,
            ProbeAfterQuiet = ProbeAfterQuiet,
            WatchServer = WatchServer,
            IdleTimeout = IdleTimeout,
            MaxLifetime = MaxLifetime,
            Reset = Reset,
            PhysicalConnectionOpened = PhysicalConnectionOpened,
            LeaseRented = LeaseRented,
            LeaseReturning = LeaseReturning,
        };
        RetireOn.WriteTo(options);
        Leaks.WriteTo(options.Leaks);
        Breaker.WriteTo(options.Breaker);
        return options;
    }

    // A record prints its members; these must never print the password.
    public override string ToString() => $"PoolSettings '{Name}'";
}

/// <summary>A server-side timeout of the pool's sessions.</summary>
internal sealed record SessionTimeout(string Parameter, TimeSpan Value)
{
    public string Milliseconds => ((long)Value.TotalMilliseconds).ToString(System.Globalization.CultureInfo.InvariantCulture);
}
