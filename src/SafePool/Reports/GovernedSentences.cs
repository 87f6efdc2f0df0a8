namespace SafePool.Reports;

/// <summary>What is said about connections whose user opens them himself.</summary>
internal static class GovernedSentences
{
    public static string CannotBeOpened(string pool)
        => $"Pool '{pool}': this connection object was made before the pool knew what stands between it and the server, and cannot be opened any more. " +
            "Open it through its DbContext (context.Database.OpenConnectionAsync), or ask the context for its connection again.";

    public static string OpenedWithinTransaction(string pool)
        => $"Pool '{pool}': within a TransactionScope the connection of a DbContext is opened through the context, or what it does is not the transaction's. " +
            "Call context.Database.OpenConnectionAsync() first; Dapper and others then use the open connection.";
}
