namespace SafePool.Leases;

/// <summary>What every copy of a <see cref="Lease"/> refers to. When the last copy is gone, its finalizer finds out.</summary>
/// <remarks>
/// <para>Re-used for the leases of one slot, so that a rent allocates nothing; a reclaimed slot gets a new one.</para>
/// <para>
/// The finalizer acts only when it runs for the second time for the same lease, and re-registers itself the first time: another object's
/// finalizer may be about to dispose the lease in the same collection. When it acts, it only queues work.
/// </para>
/// </remarks>
internal sealed class LeaseHandle(LeaseSlot slot)
{
    private long _seenDropped;
    private bool _spent;

    public LeaseSlot Slot { get; } = slot;

    ~LeaseHandle()
    {
        // At rest in its slot (the whole pool is garbage then), or replaced: nothing to find out.
        var id = Slot.LeaseId;
        if (id == 0 || Slot.Handle is not null)
        {
            return;
        }

        if (_seenDropped != id)
        {
            _seenDropped = id;
            GC.ReRegisterForFinalize(this);
            return;
        }

        _spent = true;
        Slot.Pool.OnDropped(Slot, id);
    }

    /// <summary>Goes back into its slot after a return.</summary>
    public void Rest()
    {
        if (_spent)
        {
            // Disposed by a finalizer that ran even later. Without this the next drop would go unnoticed.
            _spent = false;
            GC.ReRegisterForFinalize(this);
        }

        Slot.Handle = this;
    }
}
