using SafePool.Admission;
using SafePool.Driver;
using SafePool.Renting;

namespace SafePool.Leases;

/// <summary>A request that got no lease. The exception that says why is built when somebody asks: that is most of what a refusal costs.</summary>
internal sealed class Refusal(Refusals refusals, RefusalReason reason, AdmissionResult admission, object? who, HookCall? hook, TimeSpan waited)
{
    private PoolException? _error;

    public RefusalReason Reason => reason;

    /// <summary>What the request ended with, and the counts of that moment.</summary>
    public AdmissionResult Admission => admission;

    /// <summary>Who asked: see <see cref="Waiter.Who"/>.</summary>
    public object? Who => who;

    /// <summary>The hook of the pool's own within which it was made.</summary>
    public HookCall? Hook => hook;

    public TimeSpan Waited => waited;

    public Type ErrorType => reason switch
    {
        RefusalReason.Exhausted => typeof(PoolExhaustedException),
        RefusalReason.Rejected => typeof(PoolRejectedException),
        RefusalReason.CircuitOpen => typeof(CircuitOpenException),
        RefusalReason.ConnectTimeout => typeof(ConnectTimeoutException),
        RefusalReason.Paused => typeof(PoolPausedException),
        _ => typeof(PoolClosedException),
    };

    public PoolException ToException() => _error ??= refusals.Explain(this);
}
