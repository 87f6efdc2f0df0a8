namespace SafePool;

/// <summary>How long an outage may look like a delay, and how the pool finds out that it is over.</summary>
/// <remarks>
/// <para>
/// While opens fail for less than <see cref="TripAfter"/>, rents wait within their own budgets and one open at a time is tried. After that the circuit is
/// open: a rent that finds nothing idle fails at once with <see cref="CircuitOpenException"/>, until one probe in the background succeeds.
/// </para>
/// <para>
/// What waiting cannot cure (a wrong password, a database that does not exist) is told to the first waiter at once and counts for nothing here;
/// neither do cancelled callers and callers with a short budget.
/// </para>
/// </remarks>
public sealed class BreakerOptions
{
    private readonly ConnectionPoolOptions _owner;
    private bool _enabled = true;
    private TimeSpan _tripAfter = TimeSpan.FromSeconds(2);
    private TimeSpan _probeInterval = TimeSpan.FromMilliseconds(250);
    private TimeSpan _maxProbeInterval = TimeSpan.FromSeconds(1);
    private TimeSpan? _tripOnExhaustionAfter;

    internal BreakerOptions(ConnectionPoolOptions owner) => _owner = owner;

    /// <summary>Gets or sets whether failed opens are ridden through and then fail fast.</summary>
    /// <value>Default: <see langword="true"/>. When <see langword="false"/>, what an open fails with is told to the first waiter at once.</value>
    public bool Enabled
    {
        get => _enabled;
        set => _enabled = _owner.Unfrozen(value);
    }

    /// <summary>Gets or sets for how long opens may fail before rents fail at once.</summary>
    /// <value>Default: 2 seconds. Range: zero (the first refusal opens the circuit) to one day.</value>
    /// <remarks>
    /// Counted from the beginning of the first open that failed, without time in which the process was stopped; one that succeeds
    /// begins it anew. Opens that heard nothing, as opposed to a no, count only when there were two in succession.
    /// </remarks>
    public TimeSpan TripAfter
    {
        get => _tripAfter;
        set => _tripAfter = _owner.Unfrozen(value);
    }

    /// <summary>Gets or sets the pause after the first open that failed.</summary>
    /// <value>Default: 250 milliseconds. Range: more than zero, up to <see cref="MaxProbeInterval"/>.</value>
    /// <remarks>While rents wait, each further failure lengthens it by a quarter, up to twice this; once the circuit is open each doubles it. Every pause is shortened by up to a fifth, drawn by lot, so that many processes do not come back in step.</remarks>
    public TimeSpan ProbeInterval
    {
        get => _probeInterval;
        set => _probeInterval = _owner.Unfrozen(value);
    }

    /// <summary>Gets or sets the longest pause between two attempts while the circuit is open.</summary>
    /// <value>Default: 1 second. Range: at least <see cref="ProbeInterval"/>, up to one hour.</value>
    public TimeSpan MaxProbeInterval
    {
        get => _maxProbeInterval;
        set => _maxProbeInterval = _owner.Unfrozen(value);
    }

    /// <summary>Gets or sets after how long a pool whose connections are all leased, and which got none back, fails new rents at once.</summary>
    /// <value>Default: <see langword="null"/>, never: the bounded queue is the fast failure. Range: more than zero, up to one day.</value>
    /// <remarks>They fail with <see cref="PoolExhaustedException"/> and its diagnosis. The first lease that comes back, or is taken back, ends it.</remarks>
    public TimeSpan? TripOnExhaustionAfter
    {
        get => _tripOnExhaustionAfter;
        set => _tripOnExhaustionAfter = _owner.Unfrozen(value);
    }
}
