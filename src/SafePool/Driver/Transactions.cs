using Npgsql;

namespace SafePool.Driver;

/// <summary>What Npgsql tells of transactions only between the lines.</summary>
internal static class Transactions
{
    public static bool IsOpen(NpgsqlTransaction? transaction)
    {
        try
        {
            // The one public member that refuses to answer once a transaction is over.
            _ = transaction?.IsolationLevel;
            return transaction is not null;
        }
        catch (InvalidOperationException)
        {
            return false;
        }
    }
}
