using SafePool.Renting;

namespace SafePool;

/// <summary>When a lease counts as held for too long, what is written down about it, and what is done about it.</summary>
public sealed class LeakOptions
{
    private readonly ConnectionPoolOptions _owner;
    private TimeSpan _threshold = TimeSpan.FromSeconds(30);
    private TimeSpan? _busyThreshold;
    private LeaseTracking _tracking = LeaseTracking.Adaptive;
    private double _stackTraceSampling;
    private NestedRentPolicy _nestedRents;
    private TimeSpan? _abandonAfter;
    private bool _terminateRunning;
    private bool _inspectBackends;

    internal LeakOptions(ConnectionPoolOptions owner) => _owner = owner;

    /// <summary>Gets or sets how long a lease may be held before it is overdue, unless <see cref="RentOptions.ExpectedHold"/> says otherwise.</summary>
    /// <value>Default: 30 seconds. Range: more than zero, up to one day.</value>
    /// <remarks>
    /// An overdue lease is reported once, as a warning, and its later return as well. One on which a command is running is only mentioned until
    /// <see cref="BusyThreshold"/>. A lease that was lost after its connection had been used is taken back once it is overdue, or earlier when callers would otherwise
    /// run out of time.
    /// </remarks>
    public TimeSpan Threshold
    {
        get => _threshold;
        set => _threshold = _owner.Unfrozen(value);
    }

    /// <summary>Gets or sets how long a lease on which a command runs may be held before it is reported as overdue all the same.</summary>
    /// <value>Default: <see langword="null"/>, ten times <see cref="Threshold"/>. Range: at least <see cref="Threshold"/>, up to 30 days.</value>
    /// <remarks>For a lease whose <see cref="RentOptions.ExpectedHold"/> is longer than this, twice that.</remarks>
    public TimeSpan? BusyThreshold
    {
        get => _busyThreshold;
        set => _busyThreshold = _owner.Unfrozen(value);
    }

    /// <summary>Gets or sets what a rent writes down about itself.</summary>
    /// <value>Default: <see cref="LeaseTracking.Adaptive"/>.</value>
    public LeaseTracking Tracking
    {
        get => _tracking;
        set => _tracking = _owner.Unfrozen(value);
    }

    /// <summary>Gets or sets the share of rents that take a stack trace whatever their line.</summary>
    /// <value>Default: 0. Range: 0 to 1. Needs <see cref="Tracking"/> other than <see cref="LeaseTracking.Off"/>.</value>
    public double StackTraceSampling
    {
        get => _stackTraceSampling;
        set => _stackTraceSampling = _owner.Unfrozen(value);
    }

    /// <summary>Gets or sets what happens when a flow that holds a lease rents another one.</summary>
    /// <value>Default: <see cref="NestedRentPolicy.Off"/>.</value>
    public NestedRentPolicy NestedRents
    {
        get => _nestedRents;
        set => _nestedRents = _owner.Unfrozen(value);
    }

    /// <summary>Gets or sets after how much quiet a lease is taken away from its holder while callers wait.</summary>
    /// <value>Default: <see langword="null"/>, never. Range: at least <see cref="Threshold"/>, up to one day.</value>
    /// <remarks>
    /// First it is reported as overdue. Only when it has shown no activity since and callers are waiting is its connection cut off and its
    /// place given to them. The holder's next use of the lease throws <see cref="LeaseAbandonedException"/>; of a connection from
    /// <see cref="ConnectionPool.OpenConnectionAsync"/>, Npgsql's error for a connection that is not open. Any use of the lease, and any command that
    /// is seen running, begins the time anew; commands on a connection that was kept are seen only while they run, four times a second.
    /// </remarks>
    public TimeSpan? AbandonAfter
    {
        get => _abandonAfter;
        set => _abandonAfter = _owner.Unfrozen(value);
    }

    /// <summary>Gets or sets whether <see cref="AbandonAfter"/> applies to leases on which a command has been running, or a reader has been open, for that long.</summary>
    /// <value>Default: <see langword="false"/>.</value>
    /// <remarks>The command is cancelled first. If it does not yield, its backend is ended; Npgsql then drops its other idle connections too, and the pool opens new ones.</remarks>
    public bool TerminateRunning
    {
        get => _terminateRunning;
        set => _terminateRunning = _owner.Unfrozen(value);
    }

    /// <summary>Gets or sets whether <c>pg_stat_activity</c> is asked what the holders' sessions are doing, when the pool runs out or a lease is overdue.</summary>
    /// <value>Default: <see langword="false"/>.</value>
    /// <remarks>
    /// Over the control connection, for at most two seconds, never on a caller's path. Makes the quiet time of reports exact. Needs a direct connection (behind a pooler nobody is asked) and
    /// sees only sessions of the same role unless that role may read all. The text of queries is not read.
    /// </remarks>
    public bool InspectBackends
    {
        get => _inspectBackends;
        set => _inspectBackends = _owner.Unfrozen(value);
    }
}
