using SafePool.Maintenance;
using SafePool.Time;

namespace SafePool.Driver.Hosts;

/// <summary>Whether there is reason to ask sessions for the role of their server again. Asking is the maintenance loop's (<see cref="RoleLook"/>).</summary>
/// <remarks>Thread-safety: every member may be called from any thread. <see cref="Suspect"/> is for busy paths: one read while a suspicion is pending, and one look a second at most comes of it.</remarks>
internal sealed class HostRoles(PoolClock clock)
{
    private static readonly TimeSpan _pause = TimeSpan.FromSeconds(1);

    private long _lookedAt = long.MinValue;
    private volatile bool _isSuspected;

    /// <summary>Something was said that fits a server of another role: a command was refused because its transaction is read-only (25006), for example.</summary>
    public void Suspect()
    {
        if (!_isSuspected)
        {
            _isSuspected = true;
        }
    }

    /// <summary>Whether somebody has, unless a look was taken within the last second. True once.</summary>
    public bool TryTakeSuspicion()
    {
        if (!_isSuspected || (_lookedAt != long.MinValue && clock.Since(_lookedAt) < _pause))
        {
            return false;
        }

        _isSuspected = false;
        _lookedAt = clock.Exact;
        return true;
    }
}
