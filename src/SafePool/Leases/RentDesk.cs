using System.Data;
using System.Globalization;
using System.Runtime.ExceptionServices;
using System.Transactions;
using Npgsql;
using SafePool.Admission;
using SafePool.Connections;
using SafePool.Errors;
using SafePool.Maintenance;
using SafePool.Options;

namespace SafePool.Leases;

/// <summary>Rents that are not served at once: they wait, look closer, prepare the session, or learn why not.</summary>
/// <remarks>Members with <c>blocking</c> complete synchronously when it is true.</remarks>
internal sealed class RentDesk
{
    private readonly PoolParts _parts;
    private readonly ConnectionOpener _opener;
    private readonly ConnectionReturner _returner;
    private readonly Func<GateCounts, PoolSnapshot> _look;
    private readonly WaitingRoom _room;
    private readonly ConnectionCare _care;
    private readonly Action _onQueued;
    private long _totalWaits;
    private long _totalTimeouts;
    private long _totalRejected;

    public RentDesk(PoolParts parts, ConnectionOpener opener, ConnectionReturner returner, Func<GateCounts, PoolSnapshot> look)
    {
        _parts = parts;
        _opener = opener;
        _returner = returner;
        _look = look;
        _room = new WaitingRoom(parts.Gate, parts.Time);
        _care = new ConnectionCare(parts.Source, parts.Physicals);
        _onQueued = OnQueued;
    }

    public long TotalWaits => Volatile.Read(ref _totalWaits);

    public long TotalTimeouts => Volatile.Read(ref _totalTimeouts);

    public long TotalRejected => Volatile.Read(ref _totalRejected);

    /// <summary>Rents; <paramref name="held"/> is a place that the caller has taken already but whose connection is missing or needs care.</summary>
    public async ValueTask<Lease> RentAsync(
        RentSite site, RentOptions? options, bool blocking, LeaseSlot? held, CancellationToken cancellationToken)
    {
        if (held is null)
        {
            RefuseFaults(options);
            RefuseAmbientTransaction();
            cancellationToken.ThrowIfCancellationRequested();
        }

        var begun = _parts.Clock.Exact;
        var patience = options?.AcquireTimeout ?? _parts.Settings.AcquireTimeout;
        var deadline = _parts.Clock.After(begun, patience);
        var returning = held is not null;
        while (true)
        {
            var slot = held;
            held = null;
            if (slot is null)
            {
                var admission = patience == TimeSpan.Zero
                    ? TakeNow()
                    : blocking
                        ? _room.Wait(deadline, returning, _onQueued)
                        : await _room.WaitAsync(deadline, returning, _onQueued, cancellationToken).ConfigureAwait(false);
                slot = admission.Outcome == AdmissionOutcome.Granted
                    ? _parts.Ledger[admission.Place]
                    : throw Refusal(admission, begun, cancellationToken);
            }

            if (await TryReadyAsync(slot, blocking).ConfigureAwait(false))
            {
                return await IssueAsync(slot, site, options, blocking, cancellationToken).ConfigureAwait(false);
            }

            // Its connection was gone. It was admitted before all who wait now, so it goes to the front, with what is left of its budget.
            returning = true;
            if (patience != TimeSpan.Zero && _parts.Clock.Exact >= deadline)
            {
                throw Refusal(new AdmissionResult(AdmissionOutcome.TimedOut, Counts: _parts.Gate.Read()), begun, cancellationToken);
            }
        }
    }

    /// <summary>Rents what is idle, or nothing.</summary>
    public bool TryRent(RentSite site, LeaseSlot? held, out Lease lease)
    {
        if (held is null)
        {
            RefuseAmbientTransaction();
        }

        for (var slot = held ?? TakeIdle(); slot is not null; slot = TakeIdle())
        {
            if (Synchronously.Result(TryReadyAsync(slot, blocking: true)))
            {
                lease = Synchronously.Result(IssueAsync(slot, site, options: null, blocking: true, CancellationToken.None));
                return true;
            }
        }

        lease = default;
        return _parts.Gate.IsClosed ? throw new PoolClosedException(_look(_parts.Gate.Read())) : false;
    }

    /// <summary>Turns a lease into a plain connection that returns itself when it is closed.</summary>
    public NpgsqlConnection Detach(Lease lease)
    {
        var slot = lease.Handle!.Slot;
        var connection = slot.Connection!;

        // Kept by the slot, so that the collector does not take it for lost: the user holds the connection, not the handle.
        slot.Handle = lease.Handle;
        connection.StateChange += (_, change) =>
        {
            if (change.CurrentState == ConnectionState.Closed && slot.TrySettle(lease.Id))
            {
                OnDetachedClosed(slot, connection);
            }
        };
        return connection;
    }

    /// <summary>Cancels what runs on a lease.</summary>
    public void Cancel(NpgsqlConnection connection)
    {
        if (_parts.Source.StateOf(connection) != ConnectionState.Open)
        {
            Synchronously.Result(_parts.Source.CancelAsync(connection, blocking: true));
        }
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
        var outcome = _parts.Gate.IsClosed ? AdmissionOutcome.Closed : AdmissionOutcome.TimedOut;
        return new AdmissionResult(outcome, Counts: _parts.Gate.Read());
    }

    /// <summary>Sees to it that an open, fit connection is in a place that is held; gives the place up and says false when there is none.</summary>
    private async ValueTask<bool> TryReadyAsync(LeaseSlot slot, bool blocking)
    {
        if (slot.Connection is null)
        {
            slot.Connection = _parts.Source.TryTake();
            slot.Generation = _parts.Physicals.Generation;
        }

        if (slot.Connection is { } connection)
        {
            if (!_parts.Physicals.NeedsCare || await _care.TryMakeFitAsync(connection, blocking).ConfigureAwait(false))
            {
                return true;
            }

            await _returner.ReturnAsync(slot, blocking, retire: true).ConfigureAwait(false);
            return false;
        }

        slot.Reset();
        _opener.Vacate(slot.Place);
        return false;
    }

    private async ValueTask<Lease> IssueAsync(
        LeaseSlot slot, RentSite site, RentOptions? options, bool blocking, CancellationToken cancellationToken)
    {
        slot.Prepare(site, options);
        try
        {
            if (options?.StatementTimeout is { } timeout)
            {
                var sql = string.Create(CultureInfo.InvariantCulture, $"SET statement_timeout = {(long)timeout.TotalMilliseconds}");
                await _parts.Source.ExecuteAsync(slot.Connection!, sql, blocking).ConfigureAwait(false);
            }

            if (_parts.Settings.LeaseRented is { } hook)
            {
                await Hooks.RunAsync(hook, slot.Connection!, blocking, cancellationToken).ConfigureAwait(false);
            }
        }
        catch
        {
            await _returner.ReturnAsync(slot, blocking, retire: true).ConfigureAwait(false);
            throw;
        }

        var lease = slot.Issue(site, options, _parts.Clock.Exact);
        if (_parts.Settings.Reset == SessionReset.Strict)
        {
            NoteIfClosedByItsUser(slot, lease.Id);
        }

        return lease;
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

    private void OnDetachedClosed(LeaseSlot slot, NpgsqlConnection connection)
    {
        if (connection.FullState == ConnectionState.Broken)
        {
            // Npgsql raises this inside its locks: nothing may go on here.
            ThreadPool.UnsafeQueueUserWorkItem(
                static state => state.Returner.ReturnBroken(state.Slot),
                (Returner: _returner, Slot: slot),
                preferLocal: false);
            return;
        }

        // A closed connection could be opened again, past the gate; a disposed one cannot.
        connection.Dispose();
        _returner.ReturnClosed(slot);
    }

    private void OnQueued()
    {
        Interlocked.Increment(ref _totalWaits);
        _opener.Pump();
    }

    private Exception Refusal(AdmissionResult admission, long begun, CancellationToken cancellationToken)
    {
        switch (admission.Outcome)
        {
            case AdmissionOutcome.Cancelled:
                return new OperationCanceledException(cancellationToken);
            case AdmissionOutcome.Failed:
                // As it was thrown, with its own stack.
                ExceptionDispatchInfo.Throw(admission.Error!);
                return admission.Error!;
            case AdmissionOutcome.Closed:
                return new PoolClosedException(_look(_parts.Gate.Read()));
            case AdmissionOutcome.Rejected:
                Interlocked.Increment(ref _totalRejected);
                return new PoolRejectedException(_look(admission.Counts), _parts.Settings.MaxWaiters);
            default:
                Interlocked.Increment(ref _totalTimeouts);
                return OutOfTime(_look(admission.Counts), _parts.Clock.Since(begun));
        }
    }

    /// <summary>With room left in the pool it was the server that was waited for, not a lease.</summary>
    private static PoolException OutOfTime(PoolSnapshot pool, TimeSpan waited)
        => pool.Leased + pool.Quarantined >= pool.MaxSize
            ? new PoolExhaustedException(pool, waited)
            : new ConnectTimeoutException(pool, pool.Opening > 0 ? AcquirePhase.Opening : AcquirePhase.Queued, waited);

    private static void RefuseFaults(RentOptions? options)
    {
        if (options is not null && ConnectionPoolOptionsValidator.FaultOf(options) is { } fault)
        {
            throw new ArgumentException(fault, nameof(options));
        }
    }

    private void RefuseAmbientTransaction()
    {
        if (_parts.Settings.RefusesAmbientTransactions && Transaction.Current is not null)
        {
            throw new InvalidOperationException(Sentences.AmbientTransaction);
        }
    }
}
