using System.Data;
using Npgsql;
using SafePool.Leases;
using SafePool.Lifecycle;
using SafePool.Time;

namespace SafePool.Leaks;

/// <summary>Takes a lease away from whoever has it: ends it, retires its connection, gives the place to the next one.</summary>
internal sealed class Reclaimer(PoolParts parts, ConnectionReturner returner)
{
    private int _underWay;

    /// <summary>How many leases are being taken away: their places will be free in a moment, or quarantined.</summary>
    public int UnderWay => Volatile.Read(ref _underWay);

    /// <summary>False when the lease was returned in this moment.</summary>
    public bool TryTakeBack(LeakKind kind, LeaseSlot slot, LeaseHolder holder)
    {
        if (!LeaseHandle.TryTakeAway(slot, new TakenLease(holder.LeaseId, () => new LeaseAbandonedException(holder))))
        {
            return false;
        }

        parts.Reports.Say(kind, slot, holder);

        // Never throws; it goes on by itself when the server is slow to answer.
        Interlocked.Increment(ref _underWay);
        _ = RetireAsync(kind, slot, slot.Connection!);
        return true;
    }

    private async Task RetireAsync(LeakKind kind, LeaseSlot slot, NpgsqlConnection connection)
    {
        // One that was merely lost within a transaction must not cost that: with raw Npgsql it would not either.
        var retires = kind != LeakKind.Dropped || slot.Enlistment is null;
        await returner.ReturnAsync(slot, blocking: false, retires).ConfigureAwait(false);
        Interlocked.Decrement(ref _underWay);

        // Not closed yet when it was quarantined.
        while (parts.Source.StateOf(connection) != ConnectionState.Closed)
        {
            await Task.Delay(MaintenanceLoop.Period, parts.Time).ConfigureAwait(false);
        }

        // Whoever kept it could open a closed connection again, past the gate; a disposed one he cannot.
        connection.Dispose();
    }
}
