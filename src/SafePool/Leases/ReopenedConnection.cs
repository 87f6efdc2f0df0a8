using System.Data;
using Npgsql;
using SafePool.Errors;

namespace SafePool.Leases;

/// <summary>A connection of a lease that its user has closed and opened again, perhaps with another database or string: allowed as long as it leads to a session of the pool.</summary>
/// <remarks>Npgsql re-uses readers, and those keep the last connection object, and with it this listener: so it holds the pool weakly, which may be dropped without being disposed.</remarks>
internal sealed class ReopenedConnection(ConnectionPool pool)
{
    private readonly WeakReference<ConnectionPool> _pool = new(pool);

    /// <summary>Called in the midst of the open. One that went past the gate is ended for good.</summary>
    /// <exception cref="InvalidOperationException">It did.</exception>
    public void OnStateChange(object sender, StateChangeEventArgs change)
    {
        if (change.CurrentState == ConnectionState.Open
            && _pool.TryGetTarget(out var pool)
            && sender is NpgsqlConnection connection
            && pool.Parts.Source.Identify(connection) is null)
        {
            pool.Parts.Source.RetireAsync(connection).GetAwaiter().GetResult();
            throw new InvalidOperationException(Sentences.OpenedPastThePool(pool.Name));
        }
    }
}
