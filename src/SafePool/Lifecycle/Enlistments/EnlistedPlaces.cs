using System.Data;
using System.Diagnostics;
using System.Transactions;
using Npgsql;
using SafePool.Diagnostics;
using SafePool.Driver;
using SafePool.Leases;
using Enlistment = SafePool.Leases.Enlistment;

namespace SafePool.Lifecycle.Enlistments;

/// <summary>Keeps the places whose connections work for <c>System.Transactions</c> transactions: those with a lease, and the parked ones between two leases (design decision D13).</summary>
/// <remarks>
/// <para>
/// Npgsql keeps the connection of a lease that is returned before its transaction ends, and gives it to the next open in the same transaction. The physical
/// connection exists all the while, so its place must not be free. The way of a place:
/// <c>held → Enlist → leased → TryPark → parked → TryResume → leased → … → end of the transaction → free</c>, at which it is handed on like any other.
/// </para>
/// <list type="number">
/// <item>INV-1: a parked place is held as the gate counts, has no lease and no connection object, and is parked under one transaction only.</item>
/// <item>INV-2: who takes a place out of the parked ones, under the lock, owns it: a rent in the same transaction, or the transaction's end. Never both.</item>
/// <item>INV-3: a place is handed on after the end of its transaction only, and only once its connection is at rest in Npgsql or gone.</item>
/// <item>INV-4: a connection that came to rest without a reset is marked before it can (<see cref="PhysicalConnection.NeedsReset"/>).</item>
/// <item>INV-5: a lease that is out at the end of its transaction is ended once: by its return, or by that end (<see cref="EndedPlaces"/>, which also argues INV-3).</item>
/// </list>
/// <para>Thread-safety: every member may be called from any thread. <c>_gate</c> guards who is parked, and who has heard of the end; nothing is called under it.</para>
/// </remarks>
internal sealed class EnlistedPlaces(PoolParts parts, ConnectionOpener opener, EndedPlaces ended)
{
    private static readonly RentOptions _nothingSpecial = new();

    private readonly Lock _gate = new();
    private readonly Dictionary<Transaction, Stack<Enlistment>> _parked = [];
    private readonly RentsInTransactions _rents = new(parts, opener);

    /// <inheritdoc cref="RentsInTransactions.Ambient"/>
    public Transaction? Ambient() => _rents.Ambient();

    /// <inheritdoc cref="RentsInTransactions.Prepare"/>
    public void Prepare() => _rents.Prepare();

    /// <summary>What a lease is issued with: options of its own if it is enlisted, so that its return is never taken for a plain one.</summary>
    public static RentOptions? OptionsOf(LeaseSlot slot, RentOptions? options) => slot.Enlistment is null ? options : options ?? _nothingSpecial;

    /// <summary>Whether the connection in a place was taken before the pool last retired all: Npgsql may not know it any more when its transaction asks for it.</summary>
    public bool IsTooOld(LeaseSlot slot) => slot.Generation != parts.Physicals.Generation;

    /// <summary>What a lease without a timeout of its own says after one that had it, in the same transaction. Null: nothing.</summary>
    public string? UndoTimeout(LeaseSlot slot)
        => slot.Enlistment is { HasOwnTimeout: true } && !parts.Path.SetsPerLease && !parts.Path.SharesSessions ? "RESET statement_timeout" : null;

    /// <summary>Takes the place that an earlier lease in the same transaction has left, with the connection in it. Must be called on the stack of the rent.</summary>
    public bool TryResume(Transaction transaction, NpgsqlConnection? onto, out LeaseSlot? slot)
    {
        slot = null;
        if (parts.Gate.IsClosed || TryUnpark(transaction) is not { } enlistment)
        {
            return false;
        }

        var connection = parts.Source.TryTakeWithin(transaction, enlistment.Physical, onto, out var isBroken);
        if (isBroken)
        {
            ended.ReturnBroken(enlistment.Slot);
            return false;
        }

        if (connection is null)
        {
            // The transaction is coming to its end, or has.
            Park(enlistment);
            return false;
        }

        if (parts.Source.Identify(connection) != enlistment.Physical)
        {
            // Npgsql does not find the parked one any more (its host is offline), and would have begun a second part of the transaction.
            Enlistment.Forswear(connection, transaction);
            connection.Close();
            Park(enlistment);
            return false;
        }

        slot = enlistment.Slot;
        slot.Connection = connection;
        Listen(enlistment, connection);
        return true;
    }

    /// <summary>Makes the connection in a place that is held, and in no transaction, work for one.</summary>
    /// <exception cref="TransactionException">The transaction is over. The connection is in none.</exception>
    public void Enlist(LeaseSlot slot, Transaction transaction)
    {
        Debug.Assert(slot.Enlistment is null, "INV-1: one transaction at a time");
        var connection = slot.Connection!;
        var enlistment = new Enlistment(slot, transaction.Clone(), parts.Source.Identify(connection));
        try
        {
            connection.EnlistTransaction(transaction);
        }
        catch (Exception)
        {
            Enlistment.Forswear(connection, transaction);
            throw;
        }

        slot.Enlistment = enlistment;
        Listen(enlistment, connection);

        // Called at once if it has ended meanwhile.
        enlistment.Transaction.TransactionCompleted += (_, _) => OnEnded(enlistment);
    }

    /// <summary>Marks a connection that is about to be closed within its transaction.</summary>
    public void RequireReset(Enlistment enlistment)
    {
        if (enlistment is { Physical: { } physical, IsFree: false } && parts.Settings.Reset != SessionReset.Rollback)
        {
            physical.NeedsReset = true;
            physical.NeedsUnprepare |= parts.Settings.Reset == SessionReset.Strict;
            parts.Physicals.RequireCare();
        }
    }

    /// <summary>Keeps a place whose lease has been returned and whose connection is closed, if its transaction goes on. False when nothing keeps it.</summary>
    public bool TryPark(LeaseSlot slot)
    {
        if (slot.Enlistment is not { } enlistment)
        {
            return false;
        }

        if (enlistment.IsFree)
        {
            slot.Enlistment = null;
            return false;
        }

        ended.NoteOwnTimeout(enlistment);
        enlistment.HeldSince = slot.RentedAt;
        enlistment.LastHolder = parts.Holders.Describe(slot, slot.PresentLeaseId) with
        {
            Activity = LeaseActivity.AwaitingTransaction,
            BackendProcessId = enlistment.Physical?.Identity.ProcessId,
            QuietFor = TimeSpan.Zero,
        };

        slot.Reset();
        Park(enlistment);
        return true;
    }

    private void Park(Enlistment enlistment)
    {
        Debug.Assert(enlistment.Slot is { LeaseId: 0 }, "INV-1: a parked place has no lease");
        lock (_gate)
        {
            if (!enlistment.IsOver)
            {
                if (!_parked.TryGetValue(enlistment.Transaction, out var places))
                {
                    _parked.Add(enlistment.Transaction, places = []);
                }

                Debug.Assert(!enlistment.IsParked && !places.Contains(enlistment), "INV-1: parked once");
                places.Push(enlistment);
                enlistment.IsParked = true;
                return;
            }
        }

        // It ended while the connection was being closed.
        ended.FreeLate(enlistment);
    }

    private Enlistment? TryUnpark(Transaction transaction)
    {
        lock (_gate)
        {
            return _parked.TryGetValue(transaction, out var places) ? PopLocked(transaction, places) : null;
        }
    }

    private Enlistment PopLocked(Transaction transaction, Stack<Enlistment> places)
    {
        Debug.Assert(_gate.IsHeldByCurrentThread);
        var enlistment = places.Pop();
        Debug.Assert(enlistment is { IsParked: true, IsOver: false, Slot: { LeaseId: 0, Connection: null } }, "INV-1, INV-2");
        enlistment.IsParked = false;
        if (places.Count == 0)
        {
            _parked.Remove(transaction);
        }

        return enlistment;
    }

    private void OnEnded(Enlistment enlistment)
    {
        var wasParked = false;
        lock (_gate)
        {
            wasParked = enlistment.IsParked;
            enlistment.IsParked = false;
            if (wasParked)
            {
                RemoveLocked(enlistment);
            }

            enlistment.End();
        }

        if (wasParked)
        {
            ended.Free(enlistment);
        }
        else
        {
            ended.EndLease(enlistment);
        }
    }

    private void RemoveLocked(Enlistment over)
    {
        Debug.Assert(_gate.IsHeldByCurrentThread);
        var left = new Stack<Enlistment>(_parked[over.Transaction].Where(enlistment => enlistment != over).Reverse());
        if (left.Count == 0)
        {
            _parked.Remove(over.Transaction);
        }
        else
        {
            _parked[over.Transaction] = left;
        }
    }

    private void Listen(Enlistment enlistment, NpgsqlConnection connection)
        => connection.StateChange += (_, change) =>
        {
            // Its user may close it by himself, and end the transaction after that.
            if (change.CurrentState == ConnectionState.Closed)
            {
                RequireReset(enlistment);
            }
        };
}
