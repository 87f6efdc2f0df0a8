using System.Collections.ObjectModel;
using System.Runtime.CompilerServices;
using Npgsql;

namespace SafePool;

/// <summary>How a <see cref="ConnectionPool"/> behaves. Checked as a whole and frozen when a pool is built from it.</summary>
/// <remarks>
/// Settings of the connection string that mean the same as an option here (<c>Maximum Pool Size</c>, <c>Minimum Pool Size</c>,
/// <c>Timeout</c>, <c>No Reset On Close</c>, <c>Connection Lifetime</c>, <c>Connection Idle Lifetime</c>, and <c>-c statement_timeout=…</c> and
/// its kin in <c>Options</c>) are taken over when the option was left unset. When both are given and differ, building the pool fails.
/// </remarks>
public sealed class ConnectionPoolOptions
{
    private bool _frozen;
    private string _connectionString = "";
    private string? _name;
    private Action<NpgsqlDataSourceBuilder>? _configureDataSource;
    private int _maxWaiters = 1000;
    private int _maxConcurrentOpens = 4;
    private int _expectedInstances = 1;
    private TimeoutStrategy _timeouts;
    private TimeSpan _probeAfterIdle = TimeSpan.FromSeconds(30);
    private TimeSpan _probeAfterQuiet = TimeSpan.FromSeconds(1);
    private bool _watchServer = true;
    private TimeSpan _acquireTimeout = TimeSpan.FromSeconds(5);
    private Func<NpgsqlConnection, CancellationToken, ValueTask>? _physicalConnectionOpened;
    private Func<NpgsqlConnection, CancellationToken, ValueTask>? _leaseRented;
    private Func<NpgsqlConnection, CancellationToken, ValueTask>? _leaseReturning;

    /// <summary>Creates options with every default.</summary>
    public ConnectionPoolOptions()
    {
        Leaks = new LeakOptions(this);
        Breaker = new BreakerOptions(this);
    }

    /// <summary>Gets or sets the Npgsql connection string. Required.</summary>
    /// <remarks>It never appears in a message, a log line or a metric. <c>Pooling=false</c> and <c>Multiplexing=true</c> are refused. <c>Keepalive</c> is Npgsql's own, beside the pool: see docs/tuning.md.</remarks>
    public string ConnectionString
    {
        get => _connectionString;
        set => _connectionString = Unfrozen(value);
    }

    /// <summary>Gets or sets the pool's name in messages and logs.</summary>
    /// <value>Default: the database's name.</value>
    public string? Name
    {
        get => _name;
        set => _name = Unfrozen(value);
    }

    /// <summary>Gets or sets a callback that configures the Npgsql data source the pool builds: type mappings, password providers, certificates.</summary>
    /// <remarks>Called once per pool, once more for every act of the pool's control connection, and a few times more when a pooler is found in between.</remarks>
    public Action<NpgsqlDataSourceBuilder>? ConfigureDataSource
    {
        get => _configureDataSource;
        set => _configureDataSource = Unfrozen(value);
    }

    /// <summary>Gets or sets how many connections are kept open.</summary>
    /// <value>Default: 0. Range: 0 to <see cref="MaxSize"/>.</value>
    public int MinSize
    {
        get => MinSizeSet ?? 0;
        set => MinSizeSet = Unfrozen(value);
    }

    /// <summary>Gets or sets how many connections there are at most.</summary>
    /// <value>Default: 20. Range: 1 to 10,000.</value>
    /// <remarks>A promise about sockets of this pool. To cancel, end or ask about sessions, and to find out whether the server lets one more in, there may be one more for a moment.</remarks>
    public int MaxSize
    {
        get => MaxSizeSet ?? 20;
        set => MaxSizeSet = Unfrozen(value);
    }

    /// <summary>Gets or sets how many callers may wait for a lease to come back. The next one fails at once.</summary>
    /// <value>Default: 1,000. Range: 0 (nobody waits for a lease) to 1,000,000.</value>
    /// <remarks>Callers for whom the pool still has room to open a connection are not counted: they wait for the server.</remarks>
    public int MaxWaiters
    {
        get => _maxWaiters;
        set => _maxWaiters = Unfrozen(value);
    }

    /// <summary>Gets or sets how many connections are opened at the same time.</summary>
    /// <value>Default: 4. Range: 1 to 1,000.</value>
    public int MaxConcurrentOpens
    {
        get => _maxConcurrentOpens;
        set => _maxConcurrentOpens = Unfrozen(value);
    }

    /// <summary>Gets or sets how many processes have a pool like this one on the same server.</summary>
    /// <value>Default: 1. Range: 1 to 10,000.</value>
    /// <remarks><see cref="ConnectionPool.WarmUpAsync"/> warns when <see cref="MaxSize"/> times this is more than server, database and role allow.</remarks>
    public int ExpectedInstances
    {
        get => _expectedInstances;
        set => _expectedInstances = Unfrozen(value);
    }

    /// <summary>Gets or sets how long a rent may take.</summary>
    /// <value>Default: 5 seconds. Range: more than zero, up to one day; <see cref="Timeout.InfiniteTimeSpan"/> waits for ever.</value>
    /// <remarks>Queueing, opening and probing share this one budget.</remarks>
    public TimeSpan AcquireTimeout
    {
        get => _acquireTimeout;
        set => _acquireTimeout = Unfrozen(value);
    }

    /// <summary>Gets or sets how long one attempt to open a connection may take, <see cref="PhysicalConnectionOpened"/> included.</summary>
    /// <value>Default: 3 seconds. Range: more than zero, up to 1,024 seconds.</value>
    /// <remarks>
    /// After it the attempt is over for the pool, also when a callback in it (a password provider, <see
    /// cref="PhysicalConnectionOpened"/>) hangs and does not heed its token; what it brings later is closed.
    /// On behalf of synchronous callers Npgsql counts it in whole seconds, rounded up.
    /// </remarks>
    public TimeSpan ConnectTimeout
    {
        get => ConnectTimeoutSet ?? TimeSpan.FromSeconds(3);
        set => ConnectTimeoutSet = Unfrozen(value);
    }

    /// <summary>Gets or sets PostgreSQL's <c>statement_timeout</c> for every session of the pool.</summary>
    /// <value>Default: <see langword="null"/>, the server's own. Range: 1 millisecond to 24 days.</value>
    /// <remarks>
    /// Sent as a start-up option, so it is what <c>DISCARD ALL</c> and <c>RESET</c> restore: a lease that changes it changes it for itself only
    /// (not with <see cref="SessionReset.Rollback"/>). The first connection is asked whether it is in force, because poolers refuse or drop it; if
    /// it is not, a warning names the remedy, and <see cref="Timeouts"/> says what is done instead.
    /// </remarks>
    public TimeSpan? StatementTimeout
    {
        get => StatementTimeoutSet;
        set => StatementTimeoutSet = Unfrozen(value);
    }

    /// <summary>Gets or sets PostgreSQL's <c>lock_timeout</c> for every session of the pool.</summary>
    /// <value>Default: <see langword="null"/>, the server's own. Range: 1 millisecond to 24 days.</value>
    public TimeSpan? LockTimeout
    {
        get => LockTimeoutSet;
        set => LockTimeoutSet = Unfrozen(value);
    }

    /// <summary>Gets or sets PostgreSQL's <c>idle_in_transaction_session_timeout</c> for every session of the pool.</summary>
    /// <value>Default: <see langword="null"/>, the server's own. Range: 1 millisecond to 24 days.</value>
    public TimeSpan? IdleInTransactionTimeout
    {
        get => IdleInTransactionTimeoutSet;
        set => IdleInTransactionTimeoutSet = Unfrozen(value);
    }

    /// <summary>Gets or sets PostgreSQL's <c>transaction_timeout</c> for every session of the pool. Needs PostgreSQL 17.</summary>
    /// <value>Default: <see langword="null"/>, the server's own. Range: 1 millisecond to 24 days.</value>
    /// <remarks>Older servers refuse the connection with error 42704.</remarks>
    public TimeSpan? TransactionTimeout
    {
        get => TransactionTimeoutSet;
        set => TransactionTimeoutSet = Unfrozen(value);
    }

    /// <summary>Gets or sets how the four timeouts above get to the server.</summary>
    /// <value>Default: <see cref="TimeoutStrategy.Auto"/>.</value>
    public TimeoutStrategy Timeouts
    {
        get => _timeouts;
        set => _timeouts = Unfrozen(value);
    }

    /// <summary>Gets or sets how long an idle connection may go unused before the pool asks it for a sign of life, in the background.</summary>
    /// <value>Default: 30 seconds. Range: 1 second to one day; <see cref="Timeout.InfiniteTimeSpan"/> never asks.</value>
    /// <remarks>One that does not answer within two seconds is retired, and everything older with it.</remarks>
    public TimeSpan ProbeAfterIdle
    {
        get => _probeAfterIdle;
        set => _probeAfterIdle = Unfrozen(value);
    }

    /// <summary>Gets or sets after how long without a rent or a return the next rents make sure that what they get is alive.</summary>
    /// <value>Default: 1 second. Range: 250 milliseconds to one day; <see cref="Timeout.InfiniteTimeSpan"/> never does.</value>
    /// <remarks>Each connection is asked once, in one round trip of the rent that gets it; one that was leased, after its return. A pool that is in use never does.</remarks>
    public TimeSpan ProbeAfterQuiet
    {
        get => _probeAfterQuiet;
        set => _probeAfterQuiet = Unfrozen(value);
    }

    /// <summary>Gets or sets whether an idle connection listens while nobody rents, to hear at once when the server goes away.</summary>
    /// <value>Default: <see langword="true"/>.</value>
    /// <remarks>
    /// When it breaks, everything idle is retired within milliseconds, instead of when callers trip over it. It is one of the idle connections, and counts as idle: no session more. A rent that finds nothing else
    /// idle has it after a tenth of a millisecond. A pool of <see cref="MaxSize"/> 1 has none to spare for it.
    /// </remarks>
    public bool WatchServer
    {
        get => _watchServer;
        set => _watchServer = Unfrozen(value);
    }

    /// <summary>Gets or sets how long a surplus of idle connections beyond <see cref="MinSize"/> is kept.</summary>
    /// <value>Default: 5 minutes. Range: 1 second to one day; <see cref="Timeout.InfiniteTimeSpan"/> keeps it for ever.</value>
    /// <remarks>
    /// Npgsql hands out the connection that has rested longest, so each of them is touched now and then. What counts is therefore how many were
    /// idle at once during all of this time: so many were not needed, and are retired one by one.
    /// </remarks>
    public TimeSpan IdleTimeout
    {
        get => IdleTimeoutSet ?? TimeSpan.FromMinutes(5);
        set => IdleTimeoutSet = Unfrozen(value);
    }

    /// <summary>Gets or sets how old a connection may grow, give or take 10 % that are drawn when it is opened.</summary>
    /// <value>Default: 1 hour. Range: 1 second to 30 days; <see cref="Timeout.InfiniteTimeSpan"/> for no limit.</value>
    /// <remarks>A connection that is leased when its time comes is retired when it comes back.</remarks>
    public TimeSpan MaxLifetime
    {
        get => MaxLifetimeSet ?? TimeSpan.FromHours(1);
        set => MaxLifetimeSet = Unfrozen(value);
    }

    /// <summary>Gets or sets what is undone on the session when a lease comes back.</summary>
    /// <value>Default: <see cref="SessionReset.Full"/>.</value>
    public SessionReset Reset
    {
        get => ResetSet ?? SessionReset.Full;
        set => ResetSet = Unfrozen(value);
    }

    /// <summary>Gets or sets a hook that runs once on every new physical connection.</summary>
    /// <remarks>
    /// If it throws, or has not ended within <see cref="ConnectTimeout"/>, that open has failed and the connection is closed. Do not
    /// close the connection in it.
    /// </remarks>
    public Func<NpgsqlConnection, CancellationToken, ValueTask>? PhysicalConnectionOpened
    {
        get => _physicalConnectionOpened;
        set => _physicalConnectionOpened = Unfrozen(value);
    }

    /// <summary>Gets or sets a hook that runs before every lease is handed out: tenant settings, <c>SET ROLE</c>, row-level security.</summary>
    /// <remarks>
    /// If it throws, the connection is retired and the caller of the rent gets the exception. A synchronous rent blocks until it has
    /// ended. When the budget of the rent is over, but not before two seconds, its token is cancelled
    /// and it is not waited for any longer: the rent ends with a <see cref="TimeoutException"/>.
    /// </remarks>
    public Func<NpgsqlConnection, CancellationToken, ValueTask>? LeaseRented
    {
        get => _leaseRented;
        set => _leaseRented = Unfrozen(value);
    }

    /// <summary>Gets or sets a hook that runs on the connection of every lease that comes back, before the session is reset.</summary>
    /// <remarks>
    /// A transaction that the lease left open is still open. If the hook throws, the connection is retired and the exception is logged; the caller
    /// of <c>Dispose</c> does not see it. It has two seconds, like all of the return; then its token is cancelled and the session is ended.
    /// </remarks>
    public Func<NpgsqlConnection, CancellationToken, ValueTask>? LeaseReturning
    {
        get => _leaseReturning;
        set => _leaseReturning = Unfrozen(value);
    }

    /// <summary>Gets the SQLSTATEs that tell that the sessions of the pool are wrong for their purpose: when a command fails with one, every connection is retired, once.</summary>
    /// <value>Default: none. Five digits or capital letters each, such as <c>25006</c>. Frozen with the other options.</value>
    /// <remarks>
    /// <para>
    /// The idle ones at once, the leased ones when they come back; whoever retries after that meets a new session. The same SQLSTATE retires nothing again within a second, and when new sessions fail with it too the
    /// pauses grow to half a minute: a query that always fails does not make the pool open connections for ever.
    /// </para>
    /// <para>
    /// Two need not be named. A plan that an <c>ALTER TABLE</c> has made stale (0A000, "cached plan must not change result type") retires the sessions always; 25006 when they turn out to be on a standby and a new one
    /// would not be. Needs meters (<c>System.Diagnostics.Metrics.Meter.IsSupported</c>), which are on by default.
    /// </para>
    /// </remarks>
    public ISet<string> RetireOn { get; private set; } = new HashSet<string>(StringComparer.Ordinal);

    /// <summary>Gets when a lease counts as held for too long, what is written down about it, and what is done about it.</summary>
    public LeakOptions Leaks { get; }

    /// <summary>Gets how long an outage may look like a delay, and how the pool finds out that it is over.</summary>
    public BreakerOptions Breaker { get; }

    // What was set, as opposed to defaulted: the connection string may say the rest.
    internal int? MinSizeSet { get; private set; }

    internal int? MaxSizeSet { get; private set; }

    internal TimeSpan? ConnectTimeoutSet { get; private set; }

    internal TimeSpan? StatementTimeoutSet { get; private set; }

    internal TimeSpan? LockTimeoutSet { get; private set; }

    internal TimeSpan? IdleInTransactionTimeoutSet { get; private set; }

    internal TimeSpan? TransactionTimeoutSet { get; private set; }

    internal TimeSpan? IdleTimeoutSet { get; private set; }

    internal TimeSpan? MaxLifetimeSet { get; private set; }

    internal SessionReset? ResetSet { get; private set; }

    internal void Freeze()
    {
        _frozen = true;
        if (!RetireOn.IsReadOnly)
        {
            RetireOn = new ReadOnlySet<string>(RetireOn);
        }
    }

    internal T Unfrozen<T>(T value, [CallerMemberName] string option = "")
        => _frozen
            ? throw new InvalidOperationException($"{option} cannot change any more: a pool was built from these options. Set it before.")
            : value;
}
