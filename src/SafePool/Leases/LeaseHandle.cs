namespace SafePool.Leases;

/// <summary>What every copy of a <see cref="Lease"/> refers to. When the last copy is gone, its finalizer finds out.</summary>
/// <remarks>
/// <para>Re-used for the leases of one slot, so that a rent allocates nothing; a reclaimed slot gets a new one.</para>
/// <para>
/// The finalizer acts only when it runs for the second time for the same lease, and re-registers itself the first time: another object's
/// finalizer may be about to dispose the lease in the same collection, before this one or after. When it acts, it only queues work.
/// </para>
/// <para>
/// Invariant: a handle that is out is registered for finalization. One at rest may have lost that (its lease was disposed by a finalizer,
/// with its own already due) and is registered again when it is issued; not before, or a pool that is garbage would never die.
/// </para>
/// </remarks>
internal sealed class LeaseHandle
{
    private long _seenDropped;
    private int _isUnregistered;

    public LeaseHandle(LeaseSlot slot)
    {
        Slot = slot;
        slot.Trail = new WeakReference<LeaseHandle>(this, trackResurrection: true);
    }

    public LeaseSlot Slot { get; }

    /// <summary>The lease that was taken away from whoever holds this. An orphan then: the slot has another handle, and its leases are none of this one's business.</summary>
    public TakenLease? TakenAway { get; private set; }

    /// <summary>Ends a lease whose user still holds it, for one caller only, who then holds the place. False when it was returned in this moment.</summary>
    /// <param name="slot">Where it is.</param>
    /// <param name="lease">Which, and what its user shall hear.</param>
    /// <remarks>The orphan is marked first: its finalizer must not act any more, because the lease that it would find on the slot is somebody else's.</remarks>
    public static bool TryTakeAway(LeaseSlot slot, TakenLease lease)
    {
        LeaseHandle? orphan = null;
        if (slot.Trail?.TryGetTarget(out orphan) is true)
        {
            orphan.TakenAway = lease;
        }

        if (!slot.TrySettle(lease.LeaseId))
        {
            orphan?.TakenAway = null;
            return false;
        }

        slot.Handle = new LeaseHandle(slot);
        return true;
    }

    ~LeaseHandle()
    {
        Volatile.Write(ref _isUnregistered, 1);

        // Against EnsureRegistered, which publishes a lease and then reads the flag without a fence, because it is on the hot path.
        Interlocked.MemoryBarrierProcessWide();
        Slot.Pool.OnHandleFound();
        var id = Slot.LeaseId;
        if (id == 0 || Slot.Handle is not null || TakenAway is not null)
        {
            return;
        }

        if (_seenDropped != id)
        {
            _seenDropped = id;
            EnsureRegistered();
            return;
        }

        Slot.Pool.OnDropped(Slot, id);
    }

    /// <summary>Called once the lease is out.</summary>
    public void EnsureRegistered()
    {
        if (Volatile.Read(ref _isUnregistered) != 0 && Interlocked.Exchange(ref _isUnregistered, 0) == 1)
        {
            GC.ReRegisterForFinalize(this);
        }
    }
}

/// <summary>A lease that was taken away from its user.</summary>
/// <param name="LeaseId">Which.</param>
/// <param name="Refusal">What its next use throws.</param>
internal sealed record TakenLease(long LeaseId, Func<Exception> Refusal);
