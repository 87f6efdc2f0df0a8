using System.Data;
using Npgsql;
using SafePool.Leases;
using SafePool.Logging;
using SafePool.Time;

namespace SafePool.Lifecycle.Enlistments;

/// <summary>What becomes of a place when the transaction has ended that its connection worked for: the lease on it ends too, the connection comes to rest, the place is handed on.</summary>
/// <remarks>
/// <para>
/// An end is told in one of two moments. After a rollback, and after the second phase of a distributed commit, Npgsql has put a closed connection to rest before. In the midst of a commit by
/// this connection alone it has not, and will on the thread that told, afterwards, and nothing tells when. So that thread takes the connection over, there and then, by opening it within
/// the transaction: what is open is not put to rest by Npgsql but let go (<see cref="Enlistment.LetGo"/>), which can be seen, and then closed like any other. In the first case the same
/// attempt finds nothing, and enlists nothing: the connection that Npgsql tries instead goes back to rest at once, and as the sought one is at rest as well, or gone, no rent misses it.
/// </para>
/// <para>
/// A lease that is out at that moment is ended before its user's thread can go on: its connection is closed, so that no object that came from it, a command for example, can reach the session, where it
/// would be in no transaction. After a rollback, which may come from a timer while the user is about to do something, the connection is not used again.
/// </para>
/// </remarks>
internal sealed class EndedPlaces(PoolParts parts, RestingPlaces resting)
{
    private readonly Errands _errands = new($"SafePool '{parts.Settings.Name}' transactions");

    /// <summary>The end of a place whose connection broke: the returner's, which comes after.</summary>
    public required Action<LeaseSlot> ReturnBroken { get; init; }

    /// <summary>Ends what runs on the connection in a place, and closes it for good: the returner's.</summary>
    public required Action<LeaseSlot> Retire { get; init; }

    /// <summary>Says of a lease about which something had been reported that it is over: the detector's, which comes after.</summary>
    public required Action<LeaseSlot, long> NoteReturn { get; init; }

    /// <summary>Frees a place without a lease. To be called where the end is told, and nowhere else: Npgsql may be in the midst of the commit, on this very thread.</summary>
    public void Free(Enlistment enlistment) => _errands.Run(TakeOver(enlistment));

    /// <summary>The same when the end was told before: Npgsql may have taken note in time or not.</summary>
    public void FreeLate(Enlistment enlistment) => _errands.Run(() => TakeOver(enlistment)());

    /// <summary>Ends the lease that is out, if there is one, and frees its place. To be called where the end is told.</summary>
    public void EndLease(Enlistment enlistment)
    {
        var slot = enlistment.Slot;
        var leaseId = slot.LeaseId;

        // Ids never come back: when this one can be settled afterwards, the enlistment was that of its lease.
        if (leaseId == 0 || slot.Enlistment != enlistment || slot.DropInLeaseId == leaseId || !LeaseHandle.TryTakeAway(slot, new TakenLease(leaseId, enlistment.Refusal)))
        {
            return;
        }

        NoteReturn(slot, leaseId);
        if (TryClose(enlistment))
        {
            slot.Reset();
            Free(enlistment);
        }
        else
        {
            // Not here: it waits until Npgsql has let go of the connection, which it does on this thread.
            _errands.Run(() => Retire(slot));
        }
    }

    /// <summary>A <c>statement_timeout</c> of a lease of its own stays with the connection.</summary>
    public void NoteOwnTimeout(Enlistment enlistment)
    {
        enlistment.HasOwnTimeout |= enlistment.Slot.Options?.StatementTimeout is not null;
        if (enlistment.HasOwnTimeout && parts.Settings.Reset == SessionReset.Rollback)
        {
            enlistment.Physical?.NeedsTimeoutReset = true;
            parts.Physicals.RequireCare();
        }
    }

    /// <summary>Closes the connection of a lease that was taken away, unless something runs on it, or it broke.</summary>
    private bool TryClose(Enlistment enlistment)
    {
        var connection = enlistment.Slot.Connection!;
        var state = parts.Source.StateOf(connection);
        if (state is not (ConnectionState.Open or ConnectionState.Closed))
        {
            return false;
        }

        // Whoever would have undone something on return has not.
        if ((!enlistment.IsCommitted || parts.Settings.LeaseReturning is not null) && enlistment.Physical is { } physical)
        {
            parts.Physicals.Expire(physical);
        }

        NoteOwnTimeout(enlistment);
        try
        {
            if (state == ConnectionState.Open)
            {
                parts.Source.Close(connection);
            }

            connection.Dispose();
            return true;
        }
        catch (Exception error)
        {
            Log.ReturnFailed(parts.Logger, parts.Settings.Name, enlistment.Slot.Site.ToString(), error);
            return false;
        }
    }

    /// <summary>Opens the closed connection of a transaction that is over, if Npgsql has not put it to rest.</summary>
    /// <returns>What is left to do: it hands the place on, and never throws.</returns>
    private Action TakeOver(Enlistment enlistment)
    {
        try
        {
            var connection = parts.Source.TryTakeWithin(enlistment.Transaction, enlistment.Physical, onto: null, out var isBroken);
            return () => SetFree(enlistment, connection, isBroken);
        }
        catch (Exception error)
        {
            Log.MaintenanceFailed(parts.Logger, parts.Settings.Name, error);
            return () => SetFree(enlistment, connection: null, isBroken: false);
        }
    }

    private void SetFree(Enlistment enlistment, NpgsqlConnection? connection, bool isBroken)
    {
        var slot = enlistment.Slot;
        try
        {
            if (isBroken)
            {
                ReturnBroken(slot);
                return;
            }

            slot.Enlistment = null;
            if (connection is not null)
            {
                Close(enlistment, connection);
            }
            else if (IsGone(slot))
            {
                parts.Physicals.CountMissing();
                resting.Vacate(slot.Place);
            }
            else
            {
                resting.HandOn(slot);
            }
        }
        catch (Exception error)
        {
            Log.MaintenanceFailed(parts.Logger, parts.Settings.Name, error);
        }
        finally
        {
            enlistment.Transaction.Dispose();
        }
    }

    private void Close(Enlistment enlistment, NpgsqlConnection connection)
    {
        var slot = enlistment.Slot;
        enlistment.LetGo(connection);
        if (parts.Settings.Reset == SessionReset.Full)
        {
            // It rides along from here, as after any other close.
            enlistment.Physical?.NeedsReset = false;
        }

        var isGone = IsGone(slot);
        slot.Connection = connection;
        if (!isGone)
        {
            resting.RestAndHandOn(slot);
        }
        else if (resting.TryRest(slot))
        {
            parts.Physicals.CountClosed();
            resting.Vacate(slot.Place);
        }
    }

    /// <summary>Npgsql ends what was taken before the pool last retired all, or comes back after the pool was closed.</summary>
    private bool IsGone(LeaseSlot slot) => parts.Gate.IsClosed || slot.Generation != parts.Physicals.Generation;
}
