using System.Diagnostics;
using Npgsql;
using SafePool.Admission;
using SafePool.Driver;
using SafePool.Maintenance;
using SafePool.Reports;
using SafePool.Time;

namespace SafePool.Leases;

/// <summary>What the pool knows about one of its places: the connection in it, and the lease on it if there is one.</summary>
/// <remarks>
/// <para>
/// Ownership: whoever holds the place (see <see cref="AdmissionGate"/>) may write here; the lease id is the only field that others
/// race for, by compare-and-swap. Readers of other fields (snapshots) check the id before and after.
/// </para>
/// <para>
/// Lease ids are unique in the pool, and tell the place: each slot counts from its own in steps of the most places there can be. So a torn copy of a
/// <see cref="Lease"/> (the handle of one, the id of another) matches nothing. Zero means that no lease is out.
/// </para>
/// <para>While a lease is out nothing here refers to its <see cref="LeaseHandle"/>: the handle is alive only while the user's copies are.</para>
/// </remarks>
internal sealed class LeaseSlot
{
    // The present lease, and those before it for the flight recorder.
    private const int Remembered = 8;
    private const long Never = long.MinValue;

    private readonly LeaseWatch _watch;
    private readonly PoolClock _clock;
    private Tenancy _present = Tenancy.Ring(Remembered);
    private uint _turn;
    private long _sampledAt = Never;
    private long _askedAt = Never;
    private long _leaseId;
    private long _lastLeaseId;

    // Its complement when marked: the return reads it anyway. Taking a connection writes it, and so ends the mark.
    private int _generation;

    public LeaseSlot(ConnectionPool pool, int place, PoolClock clock, LeaseWatch watch)
    {
        _clock = clock;
        _watch = watch;
        Pool = pool;
        Place = place;
        _lastLeaseId = place;
        Handle = new LeaseHandle(this);
    }

    public ConnectionPool Pool { get; }

    public int Place { get; }

    /// <summary>The handle for the next lease; null while one is out, but for leases that nobody can drop (<see cref="ConnectionPool.OpenConnectionAsync"/>).</summary>
    public LeaseHandle? Handle { get; set; }

    /// <summary>Leads to the handle also while a lease is out, without keeping it alive: to tell its holder that the lease was taken away.</summary>
    public WeakReference<LeaseHandle>? Trail { get; set; }

    /// <summary>The connection of the lease, or one that was put here for the waiter to whom the place was handed.</summary>
    public NpgsqlConnection? Connection { get; set; }

    /// <summary>What listens on the connection while the place watches; null otherwise.</summary>
    public WatchedConnection? Watched { get; set; }

    /// <summary>The pool's generation when the connection was taken: an older one is retired on return.</summary>
    public int Generation
    {
        get => Volatile.Read(ref _generation) is var generation && generation < 0 ? ~generation : generation;
        set => _generation = value;
    }

    /// <summary>Whether its lease was out when the pool stopped asking for signs of life (<see cref="UnheardConnections"/>).</summary>
    public bool IsUnheard => Volatile.Read(ref _generation) < 0;

    public RentSite Site => _present.Site;

    public long RentedAt => _present.RentedAt;

    public RentOptions? Options { get; private set; }

    /// <summary>When the lease was last asked for its connection, by the coarse clock.</summary>
    public long UsedAt { get; private set; } = Never;

    /// <summary>Whether it ever was: somebody may then use the connection without the lease.</summary>
    public bool WasUsed => UsedAt != Never;

    /// <summary>The activity in which it was rented, where tracing is on.</summary>
    public Activity? Trace { get; private set; }

    /// <summary>The calls that led to the rent, where the tracking level wanted them.</summary>
    public StackTrace? Calls { get; private set; }

    /// <summary>The transaction that the lease began last, to tell whether it was left open.</summary>
    public NpgsqlTransaction? LastTransaction { get; set; }

    /// <summary>What has been reported about a lease; of an earlier one unless its id is that of the present.</summary>
    public OverdueReport? Report { get; set; }

    /// <summary>The lease of which the collector has found every copy gone; of an earlier one unless it equals <see cref="LeaseId"/>.</summary>
    public long LostLeaseId { get; set; }

    /// <summary>The lease whose user holds the connection itself: nothing but its close ends it. Of an earlier one unless it equals <see cref="LeaseId"/>.</summary>
    public long DropInLeaseId { get; set; }

    public long LeaseId => Volatile.Read(ref _leaseId);

    /// <summary>The lease that is out, or the one that has just been settled, until the slot is reset.</summary>
    public long PresentLeaseId => _present.LeaseId;

    /// <summary>That the connection works for a <c>System.Transactions</c> transaction; null when it is in none.</summary>
    public Enlistment? Enlistment { get; set; }

    public long Rents => (Volatile.Read(ref _lastLeaseId) - Place) / AdmissionGate.MostPlaces;

    /// <summary>Says for whom the place is held before the lease begins.</summary>
    public void Prepare(in RentSite site, RentOptions? options)
    {
        _present.Site = _watch.IsOff ? default : site;
        Options = options;
    }

    /// <summary>Starts a lease that was served at once; only the holder of the place may.</summary>
    public Lease Issue(in RentSite site)
    {
        Prepare(site, options: null);
        _present.RentedAt = _clock.Coarse;
        var isSample = (_turn & LeaseWatch.SampleMask) == 0;
        if (isSample || _watch.LooksAtEach)
        {
            Look(isSample);
        }

        return Publish();
    }

    /// <summary>Starts a lease that took its time; <see cref="Prepare"/> said for whom. <paramref name="calls"/> were taken on the caller's own stack, before it waited.</summary>
    public Lease Issue(StackTrace? calls)
    {
        // In a full pool all rents wait: once a tick is enough for a sample, and never misses one that is held for long.
        var tick = _clock.Coarse;
        _present.RentedAt = tick;
        if (_sampledAt != tick || _watch.TimesEach)
        {
            _sampledAt = tick;
            TakeExactTime();
        }

        Trace = _watch.CurrentTrace();
        Calls = calls;
        return Publish();
    }

    /// <summary>Whether the connection is of a generation, and its lease not marked as unheard.</summary>
    public bool IsHeardIn(int generation) => _generation == generation;

    /// <summary>Marks a lease. False when it has ended: then its return may not have seen that.</summary>
    public bool TryMarkUnheard(long leaseId)
    {
        var generation = Volatile.Read(ref _generation);
        if (generation >= 0)
        {
            Interlocked.CompareExchange(ref _generation, ~generation, generation);
        }

        Interlocked.MemoryBarrier();
        return LeaseId == leaseId;
    }

    /// <summary>Notes that the lease was asked for its connection.</summary>
    public void NoteUse() => UsedAt = _clock.Coarse;

    /// <summary>The same for a lease whose user gets the connection itself: from then on nobody can lead that elsewhere.</summary>
    public void NoteUse(NpgsqlConnection connection)
    {
        if (!WasUsed)
        {
            connection.StateChange += Pool.OnReopened;
        }

        NoteUse();
    }

    /// <summary>For how long the place has waited for the server, without a lease: on its way back, or to its next one. Null when it does not.</summary>
    public TimeSpan? UnansweredFor => Volatile.Read(ref _askedAt) is var asked and not Never ? _clock.RunningSince(asked) : null;

    /// <summary>From now on the place waits for the server; as before, if it did. Only its holder may say so.</summary>
    public void NoteAsked()
    {
        if (Volatile.Read(ref _askedAt) == Never)
        {
            Volatile.Write(ref _askedAt, _clock.Exact);
        }
    }

    public void NoteAnswered() => Volatile.Write(ref _askedAt, Never);

    /// <summary>Ends a lease; true for exactly one caller per lease, who then holds the place.</summary>
    public bool TrySettle(long id) => id != 0 && Interlocked.CompareExchange(ref _leaseId, 0, id) == id;

    /// <summary>Makes the slot ready for the next lease. Drops the connection: an object that was leased is never used again.</summary>
    public void Reset()
    {
        Connection = null;
        LastTransaction = null;
        Options = null;
        Trace = null;
        Calls = null;
        if (_present.LeaseId != 0)
        {
            EndTenancy();
        }
    }

    /// <summary>The leases of this slot that are remembered, oldest first, the present one included. May miss one that changes in this moment.</summary>
    public IEnumerable<PastLease> Remember()
    {
        var tenancy = _present;
        for (var i = 0; i < Remembered; i++)
        {
            tenancy = tenancy.Next;
            var past = new PastLease(tenancy.LeaseId, tenancy.Site, tenancy.RentedAt, tenancy.ReturnedAt);
            Volatile.ReadBarrier();
            if (past.LeaseId != 0 && tenancy.LeaseId == past.LeaseId)
            {
                yield return past;
            }
        }
    }

    private void EndTenancy()
    {
        var ended = _present;
        ended.ReturnedAt = _clock.Coarse;
        if (ended.IsExact)
        {
            _watch.NoteHold(ended);
        }

        _turn++;
        _present = ended.Next;
        _present.LeaseId = 0;
        _present.IsExact = false;
    }

    private void Look(bool isSample)
    {
        if (isSample || _watch.TimesEach)
        {
            TakeExactTime();
            _watch.NoteServed();
        }

        Trace = _watch.CurrentTrace();
        Calls = _watch.CallsOf(_present.Site);
    }

    private void TakeExactTime()
    {
        _present.RentedAt = _clock.Exact;
        _present.IsExact = true;
    }

    private Lease Publish()
    {
        UsedAt = Never;
        var handle = Handle!;
        Handle = null;
        var id = _lastLeaseId + AdmissionGate.MostPlaces;
        _present.LeaseId = id;
        Volatile.Write(ref _lastLeaseId, id);
        Volatile.Write(ref _leaseId, id);
        handle.EnsureRegistered();
        return new Lease(handle, id);
    }
}
