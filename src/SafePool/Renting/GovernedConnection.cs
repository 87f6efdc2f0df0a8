using System.Data;
using Npgsql;
using SafePool.Driver;
using SafePool.Leases;
using SafePool.Reports;
using SafePool.Time;

namespace SafePool.Renting;

/// <summary>One connection object whose every open is a lease, and whose close, whichever way it happens, returns it.</summary>
/// <remarks>
/// <para>The connection refers to this through its event, and Npgsql may keep the connection: so nothing here refers to the handle of a lease, or to the user (see <see cref="LeaseKeeper"/>).</para>
/// <para>
/// Whoever opens the object itself (Dapper on a closed connection, say) opens it past the gate; that is noticed while it happens. An open that took what was at rest is given an idle
/// place with it. Any other has connected: that connection is closed, and a lease rented as if it had been asked for first, which blocks.
/// </para>
/// </remarks>
internal sealed class GovernedConnection
{
    private readonly GovernedConnections _owner;
    private readonly NpgsqlConnection _connection;
    private readonly Func<RentSite> _site;
    private readonly string _text;
    private WeakReference<LeaseKeeper>? _keeper;
    private RentOptions? _options;
    private LeaseSlot? _slot;
    private long _leaseId;
    private PhysicalConnection? _untidy;
    private bool _isOpening;

    public GovernedConnection(GovernedConnections owner, NpgsqlConnection connection, Func<RentSite> site)
    {
        _owner = owner;
        _connection = connection;
        _site = site;
        _text = connection.ConnectionString;
        connection.StateChange += OnStateChange;
    }

    /// <summary>False once its user has given it another string, or another database; true again when he gives it the pool's.</summary>
    public bool LeadsToThePool => _connection.ConnectionString is var text && (text == _text || text == Parts.Settings.PublicText);

    private PoolParts Parts => _owner.Parts;

    public void Entrust(LeaseKeeper keeper, RentOptions options)
    {
        if (_keeper is null)
        {
            _keeper = new WeakReference<LeaseKeeper>(keeper);
            _options = options;
        }
    }

    /// <summary>The same user goes on with another object.</summary>
    public GovernedConnection ContinueOn(NpgsqlConnection other) => new(_owner, other, _site) { _keeper = _keeper, _options = _options };

    public async ValueTask<Lease> RentAsync(RentSite site, bool blocking, CancellationToken cancellationToken)
    {
        _isOpening = true;
        try
        {
            if (_connection.FullState == ConnectionState.Broken)
            {
                // It broke in a lease that has ended.
                Parts.Source.Close(_connection);
            }

            return await _owner.Desk.RentOntoAsync(_connection, site, _options, blocking, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            _isOpening = false;
        }
    }

    /// <summary>The lease is this object's until it closes.</summary>
    public void Hold(Lease lease)
    {
        var handle = lease.Handle!;
        var slot = handle.Slot;
        (_slot, _leaseId) = (slot, lease.Id);
        slot.DropInLeaseId = lease.Id;

        // Its user may keep the connection and lose what it belongs to.
        slot.NoteUse();
        _untidy = Parts.Settings.Reset == SessionReset.Strict ? Parts.Source.Identify(_connection) : null;
        if (_keeper?.TryGetTarget(out var keeper) is true)
        {
            keeper!.Handle = handle;
        }
        else
        {
            // Kept by the slot, so that the collector does not take it for lost.
            slot.Handle = handle;
        }

        if (_connection.FullState == ConnectionState.Broken)
        {
            // Before anybody listened: it will never tell again.
            OnClosed();
        }
    }

    private void OnStateChange(object sender, StateChangeEventArgs change)
    {
        if (_isOpening)
        {
            return;
        }

        if (change.CurrentState == ConnectionState.Closed)
        {
            OnClosed();
        }
        else if (change.CurrentState == ConnectionState.Open && LeadsToThePool)
        {
            OnOpenedByItself();
        }
    }

    private void OnClosed()
    {
        var (slot, leaseId) = (_slot, _leaseId);
        _slot = null;
        if (slot is null || !slot.TrySettle(leaseId))
        {
            return;
        }

        slot.Handle ??= TakeHandle(slot);
        if (_connection.FullState == ConnectionState.Broken)
        {
            // Npgsql raises this inside its locks: nothing may go on here.
            ThreadPool.UnsafeQueueUserWorkItem(
                static state => state.Self.OnBroken(state.Slot, state.LeaseId), (Self: this, Slot: slot, LeaseId: leaseId), preferLocal: false);
            return;
        }

        _owner.Detector.NoteReturn(slot, leaseId);
        if (_untidy is { } untidy)
        {
            // It lies at rest before anything could be said to the server; it is said before the next lease.
            untidy.NeedsUnprepare = true;
            Parts.Physicals.RequireCare();
        }

        _owner.Returner.ReturnClosed(slot);
    }

    private void OnBroken(LeaseSlot slot, long leaseId)
    {
        _owner.Detector.NoteReturn(slot, leaseId);
        _owner.Returner.ReturnBroken(slot);
    }

    private LeaseHandle TakeHandle(LeaseSlot slot)
    {
        if (_keeper?.TryGetTarget(out var keeper) is true && keeper!.Handle is { } kept && kept.Slot == slot)
        {
            // Whoever keeps the handle of a returned lease would hide the loss of a later one.
            keeper.Handle = null;
            return kept;
        }

        return slot.Trail?.TryGetTarget(out var found) is true ? found! : new LeaseHandle(slot);
    }

    private void OnOpenedByItself()
    {
        _isOpening = true;
        try
        {
            if (_owner.Desk.IsWithinTransaction)
            {
                // Npgsql has made it a part of the transaction by now, or never will, and keeps it past the pool: neither can be mended.
                AmbientTransaction.RollBackWith(Parts.Source);
                Parts.Source.RetireAsync(_connection).GetAwaiter().GetResult();
                throw new InvalidOperationException(GovernedSentences.OpenedWithinTransaction(Parts.Settings.Name));
            }

            var site = _site();
            var lease = TryAdopt(out var slot) ? _owner.Desk.Issue(slot!, site, _options) : RentInstead(site);
            Hold(lease);
        }
        finally
        {
            _isOpening = false;
        }
    }

    /// <summary>It took a connection at rest: that of an idle place, if there still is one.</summary>
    private bool TryAdopt(out LeaseSlot? slot)
    {
        slot = null;
        if (Parts.Clock.IsStale || Parts.Physicals.NeedsCare || Parts.Path.SetsPerLease || Parts.Source.Identify(_connection) is null || !Parts.Gate.TryTake(out var place))
        {
            return false;
        }

        slot = Parts.Ledger[place];
        slot.Connection = _connection;
        slot.Generation = Parts.Physicals.Generation;
        return true;
    }

    /// <summary>Closes what was opened and opens the object again, over the connection of a lease.</summary>
    /// <remarks>What is closed is ended for good, because when this throws Npgsql returns it to its pool once more.</remarks>
    private Lease RentInstead(RentSite site)
    {
        Parts.Source.RetireAsync(_connection).GetAwaiter().GetResult();
        for (var attempt = 1; ; attempt++)
        {
            var lease = Synchronously.Result(_owner.Desk.RentOntoAsync(_connection, site, _options, blocking: true, CancellationToken.None));
            var slot = lease.Handle!.Slot;
            if (slot.Connection == _connection)
            {
                return lease;
            }

            if (attempt > Parts.Settings.Hosts.Count || Parts.Settings.Hosts.Count == 1 || !slot.TrySettle(lease.Id))
            {
                lease.Dispose();
                throw new InvalidOperationException(GovernedSentences.CannotBeOpened(Parts.Settings.Name));
            }

            // It lies at another host, and this object leads to its own: that one makes room for one here.
            slot.Handle = lease.Handle;
            Synchronously.Result(_owner.Returner.ReturnAsync(slot, blocking: true, retire: true));
        }
    }
}
