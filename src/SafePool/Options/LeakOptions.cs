namespace SafePool;

/// <summary>When a lease counts as held for too long.</summary>
public sealed class LeakOptions
{
    private readonly ConnectionPoolOptions _owner;
    private TimeSpan _threshold = TimeSpan.FromSeconds(30);

    internal LeakOptions(ConnectionPoolOptions owner) => _owner = owner;

    /// <summary>Gets or sets how long a lease may be held before it is overdue, unless <see cref="RentOptions.ExpectedHold"/> says otherwise.</summary>
    /// <value>Default: 30 seconds. Range: more than zero, up to one day.</value>
    /// <remarks>
    /// A lease that was lost after its connection had been used is taken back once it is overdue, or earlier when callers would otherwise
    /// run out of time.
    /// </remarks>
    public TimeSpan Threshold
    {
        get => _threshold;
        set => _threshold = _owner.Unfrozen(value);
    }
}
