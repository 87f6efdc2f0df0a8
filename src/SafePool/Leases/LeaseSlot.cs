using Npgsql;

namespace SafePool.Leases;

/// <summary>What the pool knows about one of its places: the connection in it, and the lease on it if there is one.</summary>
/// <remarks>
/// <para>
/// Ownership: whoever holds the place (see <see cref="Admission.AdmissionGate"/>) may write here; the lease id is the only field that others
/// race for, by compare-and-swap. Readers of other fields (snapshots) check the id before and after.
/// </para>
/// <para>
/// Lease ids are unique in the pool, and tell the place: each slot counts in steps of the number of places, from its own. So a torn copy of a
/// <see cref="Lease"/> (the handle of one, the id of another) matches nothing. Zero means that no lease is out.
/// </para>
/// <para>While a lease is out nothing here refers to its <see cref="LeaseHandle"/>: the handle is alive only while the user's copies are.</para>
/// </remarks>
internal sealed class LeaseSlot
{
    private readonly int _places;
    private long _leaseId;
    private long _lastLeaseId;

    public LeaseSlot(ConnectionPool pool, int place, int places)
    {
        _places = places;
        Pool = pool;
        Place = place;
        _lastLeaseId = place;
        Handle = new LeaseHandle(this);
    }

    public ConnectionPool Pool { get; }

    public int Place { get; }

    /// <summary>The handle for the next lease; null while one is out, but for leases that nobody can drop (<see cref="ConnectionPool.OpenConnectionAsync"/>).</summary>
    public LeaseHandle? Handle { get; set; }

    /// <summary>The connection of the lease, or one that was put here for the waiter to whom the place was handed.</summary>
    public NpgsqlConnection? Connection { get; set; }

    /// <summary>The pool's generation when the connection was taken: an older one is retired on return.</summary>
    public int Generation { get; set; }

    public RentSite Site { get; private set; }

    public RentOptions? Options { get; private set; }

    public long RentedAt { get; private set; }

    /// <summary>Whether the lease was ever asked for its connection: somebody may then use it without the lease.</summary>
    public bool WasUsed { get; set; }

    /// <summary>The transaction that the lease began last, to tell whether it was left open.</summary>
    public NpgsqlTransaction? LastTransaction { get; set; }

    public long LeaseId => Volatile.Read(ref _leaseId);

    public long Rents => (Volatile.Read(ref _lastLeaseId) - Place) / _places;

    /// <summary>Says for whom the place is held before the lease begins.</summary>
    public void Prepare(in RentSite site, RentOptions? options)
    {
        Site = site;
        Options = options;
    }

    /// <summary>Starts a lease; only the holder of the place may.</summary>
    public Lease Issue(in RentSite site, RentOptions? options, long rentedAt)
    {
        Prepare(site, options);
        RentedAt = rentedAt;
        WasUsed = false;
        var handle = Handle!;
        Handle = null;
        var id = _lastLeaseId + _places;
        Volatile.Write(ref _lastLeaseId, id);
        Volatile.Write(ref _leaseId, id);
        handle.EnsureRegistered();
        return new Lease(handle, id);
    }

    /// <summary>Ends a lease; true for exactly one caller per lease, who then holds the place.</summary>
    public bool TrySettle(long id) => id != 0 && Interlocked.CompareExchange(ref _leaseId, 0, id) == id;

    /// <summary>Makes the slot ready for the next lease. Drops the connection: an object that was leased is never used again.</summary>
    public void Reset()
    {
        Connection = null;
        LastTransaction = null;
        Options = null;
    }
}
