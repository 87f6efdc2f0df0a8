using System.Transactions;

namespace SafePool.Lifecycle.Enlistments;

/// <summary>Tells whether a rent belongs to a transaction, and makes the pool fit for such rents when it meets the first one.</summary>
internal sealed class RentsInTransactions(PoolParts parts, ConnectionOpener opener)
{
    private readonly Lock _switching = new();
    private volatile bool _isEnlisting = parts.Settings.EnlistsAtOnce;

    /// <summary>The transaction that a rent on this stack belongs to; null when there is none, or the pool is not to know.</summary>
    /// <exception cref="InvalidOperationException">The scope in force has been completed: nothing more belongs to it.</exception>
    public Transaction? Ambient()
    {
        if (!parts.Settings.Enlists || Transaction.Current is not { } transaction)
        {
            return null;
        }

        Prepare();
        return transaction;
    }

    /// <summary>Makes the pool fit at once, for objects that live longer than the data source that the first such rent would replace.</summary>
    public void Prepare()
    {
        if (parts.Settings.Enlists && !_isEnlisting)
        {
            BeginEnlisting();
        }
    }

    private void BeginEnlisting()
    {
        // Calls the driver, against the rule: who rents within a transaction meanwhile must not get a connection of the old data source. Once in the life of a pool.
        lock (_switching)
        {
            if (parts.Source.TryBeginEnlisting())
            {
                opener.RetireAll();
            }

            _isEnlisting = true;
        }
    }
}
