using SafePool.Leases;
using SafePool.Lifecycle;
using SafePool.Logging;

namespace SafePool.Maintenance;

/// <summary>The end of connections that nobody has leased.</summary>
internal sealed class IdleRetirement(PoolParts parts, ConnectionReturner returner)
{
    /// <summary>As a return would: whatever happens, the place is settled, and not before the connection is surely gone.</summary>
    public ValueTask RetireAsync(LeaseSlot slot) => returner.ReturnAsync(slot, blocking: false, retire: true);

    public void Note(int retired, string reason)
    {
        if (retired > 0)
        {
            Log.Retired(parts.Logger, parts.Settings.Name, retired, reason);
        }
    }
}
