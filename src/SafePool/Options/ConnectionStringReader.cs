using System.Globalization;
using Npgsql;

namespace SafePool.Options;

/// <summary>What a connection string says about the pool, and what it must become for Npgsql (design decision D1).</summary>
/// <remarks>
/// A setting that means the same as an option is the value of that option when it was left unset; both given and different is a fault
/// that prints both. No other part of the string is ever printed: a badly quoted password can look like any of them.
/// </remarks>
internal sealed class ConnectionStringReader
{
    /// <summary>What Npgsql's own pool must have room for beyond <c>MaxSize</c>, so that nothing queues inside Npgsql, not even beside a user's <c>Clone()</c>.</summary>
    public const int LeastHeadroom = 2;

    // What it has room for when it is built: a pool that grows by eight renews nothing.
    private const int Headroom = 10;

    private const string MaximumPoolSize = "Maximum Pool Size";
    private const string MinimumPoolSize = "Minimum Pool Size";
    private const string ConnectionTimeout = "Timeout";
    private const string ConnectionIdleLifetime = "Connection Idle Lifetime";
    private const string ConnectionLifetime = "Connection Lifetime";
    private const string NoResetOnClose = "No Reset On Close";
    private readonly NpgsqlConnectionStringBuilder _builder;

    private ConnectionStringReader(NpgsqlConnectionStringBuilder builder, Faults faults)
    {
        _builder = builder;
        Hosts = HostList.Read(builder, faults);
    }

    public HostList Hosts { get; }

    public int? MaxSize { get; private set; }

    public int? MinSize { get; private set; }

    public TimeSpan? ConnectTimeout { get; private set; }

    public TimeSpan? IdleTimeout { get; private set; }

    public TimeSpan? MaxLifetime { get; private set; }

    public SessionReset? Reset { get; private set; }

    public IReadOnlyList<SessionTimeout> SessionTimeouts { get; private set; } = [];

    public bool Enlist { get; private set; }

    public bool EnlistsAtOnce => Enlist && Says("Enlist");

    public string Database => _builder.Database ?? _builder.Username ?? "postgres";

    /// <summary>The limit of Npgsql's own pool for a pool of this size.</summary>
    public static int DriverPoolSize(int maxSize) => maxSize + Headroom;

    public static ConnectionStringReader? TryRead(ConnectionPoolOptions options, Faults faults)
    {
        if (string.IsNullOrWhiteSpace(options.ConnectionString))
        {
            faults.Add("ConnectionString is empty. Set it to an Npgsql connection string such as 'Host=localhost;Database=orders;Username=app'.");
            return null;
        }

        NpgsqlConnectionStringBuilder builder;
        try
        {
            builder = new NpgsqlConnectionStringBuilder(options.ConnectionString);
        }
        catch (Exception error) when (error is ArgumentException or FormatException or InvalidCastException or OverflowException)
        {
            faults.Add("ConnectionString cannot be read by Npgsql (its words are withheld, they could show the password). Check the keywords, and quote values that contain ';' or '='.");
            return null;
        }

        var reader = new ConnectionStringReader(builder, faults) { Enlist = builder.Enlist };
        reader.Refuse(faults);
        reader.Adopt(options, faults);
        return reader;
    }

    /// <summary>The string without what it says about the pool. Holds the password.</summary>
    public string WithoutPool()
    {
        var builder = new NpgsqlConnectionStringBuilder(_builder.ConnectionString);
        string[] keywords = [MaximumPoolSize, MinimumPoolSize, ConnectionTimeout, ConnectionIdleLifetime, ConnectionLifetime, NoResetOnClose];
        foreach (var keyword in keywords)
        {
            builder.Remove(keyword);
        }

        builder.Options = SessionTimeoutOptions.Strip(_builder.Options) is { Length: > 0 } options ? options : null;
        return builder.ConnectionString;
    }

    /// <summary>The string as it was given, without the password.</summary>
    public string WithoutPassword()
        => new NpgsqlConnectionStringBuilder(_builder.ConnectionString) { Password = null }.ConnectionString;

    /// <summary>The string for Npgsql's data source. Holds the password.</summary>
    /// <param name="connectTimeout">How long an attempt to connect may take.</param>
    /// <param name="withTimeouts">Whether the session timeouts are among its start-up options; otherwise none is, also of those that the given string had there.</param>
    public string ForDataSource(TimeSpan connectTimeout, bool withTimeouts)
    {
        var options = withTimeouts
            ? SessionTimeoutOptions.Write(_builder.Options, SessionTimeouts)
            : SessionTimeoutOptions.Strip(_builder.Options);
        var builder = new NpgsqlConnectionStringBuilder(_builder.ConnectionString)
        {
            // The data source says what they are to be.
            MinPoolSize = 0,
            MaxPoolSize = Headroom,
            ConnectionLifetime = 0,
            Timeout = TimeoutForEachHost(connectTimeout),
            NoResetOnClose = Reset == SessionReset.Rollback,
            // SafePool looks for an ambient transaction itself, once per rent, so Npgsql need not: until there has been one.
            Enlist = false,
            ApplicationName = _builder.ApplicationName,
        };

        // 300 s and 10 s are Npgsql's defaults; with pruning off they only have to be consistent.
        builder.ConnectionIdleLifetime = 300;
        builder.ConnectionPruningInterval = 10;
        builder.Options = options.Length > 0 ? options : null;

        // The pool chooses among the hosts, not Npgsql.
        Hosts.LeadToFirst(builder);
        return builder.ConnectionString;
    }

    /// <summary>In whole seconds, as Npgsql has it. One host that does not answer must not use up the time of the others.</summary>
    private int TimeoutForEachHost(TimeSpan connectTimeout)
        => Hosts.Names.Count is > 1 and var hosts
            ? Math.Max(1, (int)(connectTimeout.TotalSeconds / hosts))
            : (int)Math.Ceiling(connectTimeout.TotalSeconds);

    private void Refuse(Faults faults)
    {
        if (!_builder.Pooling)
        {
            faults.Add("ConnectionString says Pooling=false: SafePool governs Npgsql's pooled connections. Remove it.");
        }

        if (SaysNoTimeout)
        {
            faults.Add(
                $"ConnectionString says {ConnectionTimeout}=0: no limit to Npgsql, but here an attempt to connect always has one. Remove it, or give it seconds; how long a rent waits for a lease is AcquireTimeout.");
        }

        if (SaysTrue("Multiplexing"))
        {
            faults.Add("ConnectionString says Multiplexing=true: a multiplexed connection belongs to no lease. Remove it.");
        }
    }

    private void Adopt(ConnectionPoolOptions options, Faults faults)
    {
        MaxSize = Merge(nameof(options.MaxSize), options.MaxSizeSet, MaximumPoolSize, _builder.MaxPoolSize, faults);
        MinSize = Merge(nameof(options.MinSize), options.MinSizeSet, MinimumPoolSize, _builder.MinPoolSize, faults);
        ConnectTimeout = SaysNoTimeout
            ? options.ConnectTimeoutSet
            : Merge(nameof(options.ConnectTimeout), options.ConnectTimeoutSet, ConnectionTimeout, Seconds(_builder.Timeout), faults);
        IdleTimeout = Merge(nameof(options.IdleTimeout), options.IdleTimeoutSet, ConnectionIdleLifetime, Seconds(_builder.ConnectionIdleLifetime), faults);
        MaxLifetime = Merge(
            nameof(options.MaxLifetime),
            options.MaxLifetimeSet,
            ConnectionLifetime,
            _builder.ConnectionLifetime == 0 ? Timeout.InfiniteTimeSpan : Seconds(_builder.ConnectionLifetime),
            faults);

        // Strict resets as well, only more, so it does not contradict 'No Reset On Close=false'.
        var reset = options.ResetSet == SessionReset.Strict ? SessionReset.Strict : SessionReset.Full;
        Reset = Merge(nameof(options.Reset), options.ResetSet, NoResetOnClose, _builder.NoResetOnClose ? SessionReset.Rollback : reset, faults);

        SessionTimeouts = SessionTimeoutOptions.Merge(_builder.Options, options, faults);
    }

    private static TimeSpan Seconds(int seconds) => TimeSpan.FromSeconds(seconds);

    private T? Merge<T>(string option, T? set, string keyword, T text, Faults faults)
        where T : struct
    {
        if (!Says(keyword))
        {
            return set;
        }

        if (set is { } value && !value.Equals(text))
        {
            faults.Add(string.Create(
                CultureInfo.InvariantCulture,
                $"{option} ({value}) and '{keyword}' in the connection string ({text}) differ. Keep one of them."));
        }

        return text;
    }

    // Npgsql has 15 seconds when nothing is said.
    private bool SaysNoTimeout => _builder.Timeout == 0;

    private bool Says(string keyword) => _builder.ShouldSerialize(keyword);

    /// <summary>For keywords that not every version of Npgsql has as a property; one that does not know it at all refuses the string.</summary>
    private bool SaysTrue(string keyword) => _builder.TryGetValue(keyword, out var value) && value is true;
}
