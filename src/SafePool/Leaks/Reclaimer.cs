using SafePool.Connections;
using SafePool.Leases;

namespace SafePool.Leaks;

/// <summary>Takes a lease away from whoever has it: ends it, retires its connection, gives the place to the next one.</summary>
/// <remarks>
/// The handle that the holder has is made an orphan first. Its finalizer must not act any more: the lease that it would find on the slot is somebody else's.
/// </remarks>
internal sealed class Reclaimer(PoolParts parts, ConnectionReturner returner)
{
    /// <summary>False when the lease was returned in this moment.</summary>
    public bool TryTakeBack(LeakKind kind, LeaseSlot slot, LeaseHolder holder)
    {
        LeaseHandle? orphan = null;
        if (slot.Trail?.TryGetTarget(out orphan) is true)
        {
            orphan.TakenAway = holder;
        }

        if (!slot.TrySettle(holder.LeaseId))
        {
            orphan?.TakenAway = null;
            return false;
        }

        slot.Handle = new LeaseHandle(slot);
        parts.Reports.Say(kind, slot, holder);

        // Never throws; it goes on by itself when the server is slow to answer.
        _ = returner.ReturnAsync(slot, blocking: false, retire: true).AsTask();
        return true;
    }
}
