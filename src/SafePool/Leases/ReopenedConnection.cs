using System.Data;
using Npgsql;
using SafePool.Driver;
using SafePool.Reports;

namespace SafePool.Leases;

/// <summary>A connection that its user has closed and opens again, perhaps with another database or string: allowed as long as its lease is out, and it leads to a session of the pool.</summary>
/// <remarks>Npgsql re-uses readers, and those keep the last connection object, and with it this listener: so it holds the pool weakly, which may be dropped without being disposed.</remarks>
/// <param name="pool">Whose it is.</param>
/// <param name="isReturned">Its lease has ended with its close.</param>
internal sealed class ReopenedConnection(ConnectionPool pool, bool isReturned = false)
{
    private readonly WeakReference<ConnectionPool> _pool = new(pool);

    /// <summary>Called in the midst of the open. One that went past the gate is ended for good; a transaction of which Npgsql has made it a part is rolled back.</summary>
    /// <exception cref="InvalidOperationException">It did.</exception>
    public void OnStateChange(object sender, StateChangeEventArgs change)
    {
        if (change.CurrentState != ConnectionState.Open || !_pool.TryGetTarget(out var pool) || sender is not NpgsqlConnection connection)
        {
            return;
        }

        var source = pool.Parts.Source;
        var isOwn = source.Identify(connection) is not null;
        if (isOwn && !isReturned)
        {
            return;
        }

        AmbientTransaction.RollBackWith(source);
        if (!isOwn)
        {
            source.RetireAsync(connection).GetAwaiter().GetResult();
        }

        // What lay at rest goes back there, by Npgsql's own hand: an open whose event throws returns what it has taken.
        throw new InvalidOperationException(isReturned ? Sentences.OpenedAfterReturn(pool.Name) : Sentences.OpenedPastThePool(pool.Name));
    }
}
