namespace SafePool;

/// <summary>What is undone on the session when a lease comes back.</summary>
/// <remarks>
/// An open transaction is rolled back in every mode. docs/session-reset.md has the whole list, measured. Behind a pooler that hands out servers per transaction nothing else is
/// undone in any mode: a reset would hit whichever server is next (docs/poolers.md).
/// </remarks>
public enum SessionReset
{
    /// <summary>
    /// Npgsql's own reset, which costs no round trip because it travels with the next command: <c>DISCARD ALL</c>; once Npgsql has prepared
    /// statements on the connection, the same without <c>DEALLOCATE</c>, so a statement that was prepared by SQL <c>PREPARE</c> survives.
    /// Until that next command the session keeps its locks, and what it hears by <c>LISTEN</c> is delivered to the next lease.
    /// </summary>
    Full = 0,

    /// <summary>
    /// <c>DISCARD ALL</c> before the return ends, and all prepared statements are dropped as well. Costs two round trips for every return; for
    /// a connection from <see cref="IConnectionPool.OpenConnectionAsync"/>, or one that its user closed, one before the session is used again.
    /// </summary>
    Strict,

    /// <summary>Only an open transaction is ended. Settings, temporary tables, locks and <c>LISTEN</c> reach the next lease.</summary>
    Rollback,
}
