using System.Transactions;
using Npgsql;
using SafePool.Driver.Hosts;

namespace SafePool.Driver;

/// <summary>What the pool does within, and outside of, the transaction that is ambient where it is called.</summary>
/// <remarks>
/// Npgsql enlists whatever it opens in the ambient transaction, once the pool's data source lets it. Only what is opened to go on with a transaction may be:
/// everything that the pool takes for other reasons, on a caller's stack, is taken outside.
/// </remarks>
internal static class AmbientTransaction
{
    /// <summary>Takes a connection at rest, and enlists it in nothing, whatever transaction is ambient. Null when there is none; never waits, never connects.</summary>
    /// <param name="source">Of the pool.</param>
    /// <param name="onto">As <see cref="IConnectionSource.TryTakeEnlisting(NpgsqlConnection)"/> does; null for a new object.</param>
    /// <param name="host">As <see cref="IConnectionSource.TryTakeEnlistingAt"/> does; null for whichever has one.</param>
    public static NpgsqlConnection? TryTake(this IConnectionSource source, NpgsqlConnection? onto = null, ServerDataSource? host = null)
    {
        if (!source.IsEnlisting || !IsPresent())
        {
            return Take();
        }

        using var outside = Suppress();
        return Take();

        NpgsqlConnection? Take()
            => onto is not null ? source.TryTakeEnlisting(onto)
                : host is not null ? source.TryTakeEnlistingAt(host)
                : source.TryTakeEnlisting();
    }

    /// <summary>Runs something as if <paramref name="transaction"/>, which may be over, were the ambient one.</summary>
    public static T Within<T>(Transaction transaction, Func<T> work)
    {
        // The setter alone would lose the scope that is in force, whether it flows or belongs to the thread; inside of these there is none to lose.
        using var outer = Suppress();
        using var inner = new TransactionScope(TransactionScopeOption.Suppress);
        try
        {
            Transaction.Current = transaction;
            return work();
        }
        finally
        {
            Transaction.Current = null;
        }
    }

    /// <summary>Rolls back the ambient transaction, of which Npgsql has made a connection a part that nobody may use: afterwards that one is in none.</summary>
    public static void RollBackWith(IConnectionSource source)
    {
        if (!source.IsEnlisting || !IsPresent())
        {
            return;
        }

        try
        {
            Transaction.Current?.Rollback();
        }
        catch (Exception error) when (error is TransactionException or InvalidOperationException)
        {
            // It is over, or its scope has been completed: then nothing was enlisted.
        }
    }

    private static bool IsPresent()
    {
        try
        {
            return Transaction.Current is not null;
        }
        catch (InvalidOperationException)
        {
            // The scope has been completed, but not disposed.
            return true;
        }
    }

    private static TransactionScope Suppress() => new(TransactionScopeOption.Suppress, TransactionScopeAsyncFlowOption.Enabled);
}
