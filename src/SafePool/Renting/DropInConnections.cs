using System.Data;
using Npgsql;
using SafePool.Leaks;
using SafePool.Leases;
using SafePool.Lifecycle;

namespace SafePool.Renting;

/// <summary>Leases that are handed out as plain connections, which return themselves when they are closed.</summary>
/// <remarks>The user holds the connection, not the handle: the collector cannot find one that was lost. The scanner sees it like any other lease.</remarks>
internal sealed class DropInConnections(ConnectionReturner returner, LeakDetector detector)
{
    public async ValueTask<NpgsqlConnection> DetachAsync(ValueTask<Lease> lease) => Detach(await lease.ConfigureAwait(false));

    public NpgsqlConnection Detach(Lease lease)
    {
        var slot = lease.Handle!.Slot;
        var connection = slot.Connection!;

        // Kept by the slot, so that the collector does not take it for lost.
        slot.Handle = lease.Handle;
        slot.DropInLeaseId = lease.Id;

        // Only the id: readers that Npgsql re-uses keep the last connection object, and with it this listener. If that kept the handle, nobody would see
        // that a later lease of this slot was dropped.
        var leaseId = lease.Id;
        StateChangeEventHandler? listener = null;
        listener = (_, change) =>
        {
            if (change.CurrentState == ConnectionState.Closed && slot.TrySettle(leaseId))
            {
                // Nor the pool itself, which may be dropped without being disposed.
                connection.StateChange -= listener;
                OnClosed(slot, leaseId, connection);
            }
        };
        connection.StateChange += listener;
        if (connection.FullState == ConnectionState.Broken && slot.TrySettle(leaseId))
        {
            // Before anybody listened: it will never tell again.
            OnBroken(slot, leaseId);
        }

        return connection;
    }

    private void OnClosed(LeaseSlot slot, long leaseId, NpgsqlConnection connection)
    {
        if (connection.FullState == ConnectionState.Broken)
        {
            // Npgsql raises this inside its locks: nothing may go on here.
            ThreadPool.UnsafeQueueUserWorkItem(
                static state => state.Self.OnBroken(state.Slot, state.LeaseId),
                (Self: this, Slot: slot, LeaseId: leaseId),
                preferLocal: false);
            return;
        }

        detector.NoteReturn(slot, leaseId);

        // It could be opened again, past the gate. One that is disposed could not, but the words would be Npgsql's, and name no remedy.
        connection.StateChange += new ReopenedConnection(slot.Pool, isReturned: true).OnStateChange;
        returner.ReturnClosed(slot);
    }

    private void OnBroken(LeaseSlot slot, long leaseId)
    {
        detector.NoteReturn(slot, leaseId);
        returner.ReturnBroken(slot);
    }
}
