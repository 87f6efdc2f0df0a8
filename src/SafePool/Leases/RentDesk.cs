using System.Data;
using System.Runtime.CompilerServices;
using System.Transactions;
using Microsoft.Extensions.ObjectPool;
using Npgsql;
using SafePool.Admission;
using SafePool.Connections;
using SafePool.Diagnostics;
using SafePool.Enlistments;
using SafePool.Errors;
using SafePool.Maintenance;
using SafePool.Options;
using SafePool.Telemetry;

namespace SafePool.Leases;

/// <summary>Rents that are not served at once: they wait, look closer, prepare the session, or learn why not.</summary>
/// <remarks>Members with <c>blocking</c> complete synchronously when it is true.</remarks>
internal sealed class RentDesk
{
    private readonly PoolParts _parts;
    private readonly ConnectionOpener _opener;
    private readonly ConnectionReturner _returner;
    private readonly EnlistedPlaces _enlisted;
    private readonly Refusals _refusals;
    private readonly NestedRents? _nested;
    private readonly WaitingRoom _room;
    private readonly Readiness _readiness;
    private readonly Action<Waiter> _onQueued;
    private readonly ObjectPool<PendingRent> _pending = PendingRent.Policy.CreatePool(WaitingRoom.RetainedWaiters);
    private long _waitNotedAt = long.MinValue;

    public RentDesk(PoolParts parts, ConnectionOpener opener, ConnectionReturner returner, EnlistedPlaces enlisted, Refusals refusals)
    {
        _parts = parts;
        _opener = opener;
        _returner = returner;
        _enlisted = enlisted;
        _refusals = refusals;
        _nested = parts.Settings.Leaks.NestedRents == NestedRentPolicy.Off ? null : new NestedRents(parts);
        _room = new WaitingRoom(parts.Gate, parts.Time);
        _readiness = new Readiness(parts, opener, returner);
        _onQueued = OnQueued;
    }

    /// <summary>Rents; <paramref name="held"/> is a place that the caller has taken already but whose connection is missing or needs care.</summary>
    public ValueTask<Lease> RentAsync(RentSite site, RentOptions? options, LeaseSlot? held, CancellationToken cancellationToken)
    {
        var pending = _pending.Get();
        return pending.Follow(BeginAsync(site, options, blocking: false, held, onto: null, pending, cancellationToken));
    }

    /// <summary>The same for a caller who blocks.</summary>
    public Lease Rent(RentSite site, RentOptions? options, LeaseSlot? held)
        => Synchronously.Result(BeginAsync(site, options, blocking: true, held, onto: null, note: null, CancellationToken.None));

    /// <summary>The same for a caller who wants to be told of a refusal, not to catch it.</summary>
    public ValueTask<RentOutcome> TryRentAsync(RentSite site, RentOptions? options, LeaseSlot? held, CancellationToken cancellationToken)
    {
        // Not async itself: what a rent leaves in the flow would not outlive the method.
        var note = new RefusalNote();
        return OutcomeAsync(BeginAsync(site, options, blocking: false, held, onto: null, note, cancellationToken), note);
    }

    /// <inheritdoc cref="RentsInTransactions.Prepare"/>
    public void PrepareForTransactions() => _enlisted.Prepare();

    /// <summary>Rents onto an object of the caller's own. What the lease has is another one when that could not be opened: <see cref="IConnectionSource.TryTake(NpgsqlConnection)"/>.</summary>
    public ValueTask<Lease> RentOntoAsync(
        NpgsqlConnection onto, RentSite site, RentOptions? options, bool blocking, CancellationToken cancellationToken)
        => BeginAsync(site, options, blocking, held: null, onto, note: null, cancellationToken);

    /// <summary>Makes a lease of a connection that was opened past the pool, onto a connection at rest, and is in a place that the caller holds.</summary>
    public ValueTask<Lease> IssueAsync(LeaseSlot held, RentSite site, RentOptions? options)
    {
        var request = new RentRequest(site, options, Blocking: true, _nested?.Enter(site), _parts.Watch.CallsOf(site), Ambient: null, CancellationToken.None) { Onto = held.Connection };
        return IssueAsync(held, request);
    }

    /// <summary>Rents what is idle, or nothing.</summary>
    public bool TryRent(RentSite site, LeaseSlot? held, out Lease lease)
    {
        var ambient = held is null ? _enlisted.Ambient() : null;
        var request = new RentRequest(
            site, Options: null, Blocking: true, _nested?.Enter(site), _parts.Watch.CallsOf(site), ambient, CancellationToken.None);
        var isRented = false;
        try
        {
            return isRented = TryRent(request, held, out lease);
        }
        finally
        {
            if (!isRented)
            {
                request.Flow?.Ended();
            }
        }
    }

    /// <summary>Cancels what runs on a lease.</summary>
    public void Cancel(NpgsqlConnection connection)
    {
        if (_parts.Source.StateOf(connection) != ConnectionState.Open)
        {
            Synchronously.Result(_parts.Source.CancelAsync(connection, blocking: true));
        }
    }

    private ValueTask<Lease> BeginAsync(
        RentSite site,
        RentOptions? options,
        bool blocking,
        LeaseSlot? held,
        NpgsqlConnection? onto,
        RefusalNote? note,
        CancellationToken cancellationToken)
    {
        // On the caller's own stack and in its own context: after the first await it is too late for both.
        var calls = _parts.Watch.CallsOf(site);
        var ambient = held is null ? _enlisted.Ambient() : null;
        if (_nested is null)
        {
            return RentAsync(new RentRequest(site, options, blocking, _parts.Watch.CurrentTrace(), calls, ambient, cancellationToken) { Onto = onto, Refused = note }, held);
        }

        try
        {
            return RentInFlowAsync(new RentRequest(site, options, blocking, _nested.Enter(site), calls, ambient, cancellationToken) { Onto = onto, Refused = note });
        }
        catch (InvalidOperationException nested)
        {
            return ValueTask.FromException<Lease>(nested);
        }
    }

    private bool TryRent(in RentRequest request, LeaseSlot? held, out Lease lease)
    {
        for (var slot = held ?? Resume(request) ?? TakeIdle(); slot is not null; slot = TakeIdle())
        {
            if (Synchronously.Result(TryPrepareAsync(slot, request, long.MaxValue)))
            {
                lease = Synchronously.Result(IssueAsync(slot, request));
                return true;
            }
        }

        lease = default;
        return _parts.Gate.IsClosed ? throw _refusals.Closed() : false;
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<Lease> RentInFlowAsync(RentRequest request)
    {
        var isRented = false;
        try
        {
            var lease = await RentAsync(request, held: null).ConfigureAwait(false);
            isRented = lease.Handle is not null;
            return lease;
        }
        finally
        {
            if (!isRented)
            {
                request.Flow!.Ended();
            }
        }
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<Lease> RentAsync(RentRequest request, LeaseSlot? held)
    {
        if (held is null)
        {
            RefuseFaults(request.Options);
            request.CancellationToken.ThrowIfCancellationRequested();
        }

        var begun = _parts.Clock.Exact;
        var patience = request.Options?.AcquireTimeout ?? _parts.Settings.AcquireTimeout;
        var deadline = _parts.Clock.After(begun, patience);

        // A caller who will not wait for a lease waits for the sign of life of the one that was there.
        var lookDeadline = patience == TimeSpan.Zero ? _parts.Clock.After(begun, PoolSettings.ReturnPatience) : deadline;
        held ??= Resume(request);
        var returning = held is not null;
        var hasWaited = false;
        while (true)
        {
            var slot = held;
            held = null;
            if (slot is null)
            {
                var admission = patience == TimeSpan.Zero
                    ? TakeNow()
                    : request.Blocking
                        ? _room.Wait(deadline, returning, request.Who, _onQueued)
                        : await _room.WaitAsync(deadline, returning, request.Who, _onQueued, request.CancellationToken).ConfigureAwait(false);
                if (admission.Outcome == AdmissionOutcome.CircuitOpen && !_parts.Breaker.IsOpen && _parts.Clock.Exact < deadline)
                {
                    // It was closed again in this moment.
                    continue;
                }

                if (admission.Outcome != AdmissionOutcome.Granted)
                {
                    return Refuse(admission, request, begun);
                }

                hasWaited |= admission.HasWaited;
                slot = _parts.Ledger[admission.Place];
            }

            if (await TryPrepareAsync(slot, request, lookDeadline).ConfigureAwait(false))
            {
                var lease = await IssueAsync(slot, request).ConfigureAwait(false);
                _parts.Telemetry.Rented(begun, hasWaited);
                return lease;
            }

            // Its connection was gone. It was admitted before all who wait now, so it goes to the front, with what is left of its budget.
            returning = true;
            if (patience != TimeSpan.Zero && _parts.Clock.Exact >= deadline)
            {
                return Refuse(new AdmissionResult(AdmissionOutcome.TimedOut, Counts: _parts.Gate.Read(), Phase: AcquirePhase.Probing), request, begun);
            }
        }
    }

    private static async ValueTask<RentOutcome> OutcomeAsync(ValueTask<Lease> renting, RefusalNote note)
    {
        var lease = await renting.ConfigureAwait(false);
        return note.Refusal is { } refusal ? new RentOutcome(refusal) : new RentOutcome(lease);
    }

    /// <summary>No lease, and a note for a caller who has one ready; the others get an exception.</summary>
    private Lease Refuse(AdmissionResult admission, in RentRequest request, long begun)
    {
        if (request.Refused is not { } note || !Refusals.IsRefusal(admission.Outcome))
        {
            throw _refusals.Of(admission, request, begun);
        }

        note.Refusal = _refusals.Refuse(admission, request, begun);
        return default;
    }

    private LeaseSlot? TakeIdle() => _parts.Gate.TryTake(out var place) ? _parts.Ledger[place] : null;

    /// <summary>A budget of zero: what is idle now, or nothing. Something is opened all the same, for the next one.</summary>
    private AdmissionResult TakeNow()
    {
        if (_parts.Gate.TryTake(out var place))
        {
            return new AdmissionResult(AdmissionOutcome.Granted, place);
        }

        _opener.OpenSpeculatively();
        var outcome = _parts.Gate.IsClosed ? AdmissionOutcome.Closed : OfHopeless() ?? AdmissionOutcome.TimedOut;
        return new AdmissionResult(outcome, Counts: _parts.Gate.Read());
    }

    /// <summary>The place that an earlier lease in the same transaction has left.</summary>
    private LeaseSlot? Resume(in RentRequest request)
        => request.Ambient is { } transaction && _enlisted.TryResume(transaction, request.Onto, out var slot) ? slot : null;

    /// <summary>False when the place is not the caller's any more.</summary>
    private async ValueTask<bool> TryPrepareAsync(LeaseSlot slot, RentRequest request, long deadline)
    {
        if (slot.Enlistment is null)
        {
            if (!await _readiness.TryMakeReadyAsync(slot, request.Onto, request.Blocking, deadline, request.CancellationToken).ConfigureAwait(false))
            {
                return false;
            }

            if (request.Ambient is not null && _enlisted.IsTooOld(slot))
            {
                _returner.Retire(slot);
                return false;
            }
        }

        return await _readiness.EndsInTimeAsync(slot, SayTimeoutsAsync(slot, request), request.Blocking, deadline, request.CancellationToken).ConfigureAwait(false);
    }

    private async ValueTask<Lease> IssueAsync(LeaseSlot slot, RentRequest request)
    {
        slot.Prepare(request.Site, request.Options);
        try
        {
            if (_parts.Settings.LeaseRented is { } hook)
            {
                await Hooks.RunAsync(hook, slot.Connection!, request.Blocking, request.CancellationToken).ConfigureAwait(false);
            }

        }
        catch
        {
            await _returner.ReturnAsync(slot, request.Blocking, retire: true).ConfigureAwait(false);
            throw;
        }

        if (request.Ambient is { } transaction)
        {
            await EnlistAsync(slot, transaction, request).ConfigureAwait(false);
        }

        slot.Prepare(request.Site, EnlistedPlaces.OptionsOf(slot, request.Options));
        var lease = slot.Issue(request.Calls);
        request.Flow?.Issued(slot, lease.Id);
        if (_parts.Settings.Reset == SessionReset.Strict && request.Onto is null)
        {
            NoteIfClosedByItsUser(slot, lease.Id);
        }

        return lease;
    }

    private async ValueTask EnlistAsync(LeaseSlot slot, Transaction transaction, RentRequest request)
    {
        try
        {
            if (slot.Enlistment is null)
            {
                _enlisted.Enlist(slot, transaction);
            }

            if (_parts.Timeouts.ForTransaction(request.Options) is { } sql)
            {
                await _parts.Source.ExecuteAsync(slot.Connection!, sql, request.Blocking).ConfigureAwait(false);
            }
        }
        catch
        {
            // Within the transaction already: then it must not go on without its timeouts.
            await _returner.ReturnAsync(slot, request.Blocking, retire: slot.Enlistment is not null).ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>Says to the server what timeouts this lease has, if start-up options have not said it. Completes synchronously when there is nothing to say.</summary>
    private async ValueTask SayTimeoutsAsync(LeaseSlot slot, RentRequest request)
    {
        if ((_parts.Timeouts.ForRent(request.Options) ?? _enlisted.UndoTimeout(slot)) is { } sql)
        {
            await _parts.Source.ExecuteAsync(slot.Connection!, sql, request.Blocking).ConfigureAwait(false);
        }
        else if (_parts.Path.SetsPerLease
            && _parts.Source.Identify(slot.Connection!) is { } physical
            && !await _parts.Timeouts.TrySetAsync(slot.Connection!, physical.BackendId, request.Options, request.Blocking).ConfigureAwait(false))
        {
            LeaveSessionMode();
        }
    }

    /// <summary>A connection met another backend than its own: none of them has one of its own, and none may be reset.</summary>
    private void LeaveSessionMode()
    {
        if (_parts.Path.TryDemote())
        {
            Log.PoolerWasMistaken(_parts.Logger, _parts.Settings.Name, PathFinder.Cure(_parts.Settings.SessionTimeouts));
            _opener.RetireAll();
        }
    }

    /// <summary>What its user closes is at rest before anything could be said to the server; it is said before the next lease then.</summary>
    private void NoteIfClosedByItsUser(LeaseSlot slot, long leaseId)
    {
        var connection = slot.Connection!;
        var physical = _parts.Source.Identify(connection);
        connection.StateChange += (_, change) =>
        {
            // Of a lease that has ended already the return closes it, and has said everything.
            if (change.CurrentState == ConnectionState.Closed && slot.LeaseId == leaseId)
            {
                physical?.NeedsUnprepare = true;
                _parts.Physicals.RequireCare();
            }
        };
    }

    private void OnQueued(Waiter waiter)
    {
        // First, because it may find that the circuit is to open now. The other way round, a circuit that opens in between would leave this one waiting.
        _opener.Pump();
        if (!_opener.IsSettingAside && OfHopeless() is { } hopeless && _parts.Gate.TryLeave(waiter, hopeless))
        {
            return;
        }

        _parts.Totals.CountWait();
        NoteWait();
        if (_nested is not null && waiter.Who is RentFlow flow && _nested.IsDeadlock(flow))
        {
            _parts.Gate.TryLeave(waiter, AdmissionOutcome.Deadlocked);
        }
    }

    /// <summary>Once a tick: in a pool that is always full waits alone would fill the recorder within milliseconds.</summary>
    private void NoteWait()
    {
        var tick = _parts.Clock.Coarse;
        if (Volatile.Read(ref _waitNotedAt) != tick && Interlocked.Exchange(ref _waitNotedAt, tick) != tick)
        {
            _parts.Recorder.Record(FlightEventKind.Wait);
        }
    }

    /// <summary>Why it would be in vain to wait; null when it may not be.</summary>
    private AdmissionOutcome? OfHopeless()
        => _parts.Breaker.IsOpen ? AdmissionOutcome.CircuitOpen
            : _parts.Exhaustion.IsTripped ? AdmissionOutcome.Stuck
            : null;

    private static void RefuseFaults(RentOptions? options)
    {
        if (options is not null && ConnectionPoolOptionsValidator.FaultOf(options) is { } fault)
        {
            throw new ArgumentException(fault, nameof(options));
        }
    }
}
