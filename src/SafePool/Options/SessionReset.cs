namespace SafePool;

/// <summary>What is undone on the session when a lease comes back.</summary>
/// <remarks>An open transaction is rolled back in every mode.</remarks>
public enum SessionReset
{
    /// <summary>
    /// Npgsql's own reset, which costs no round trip because it travels with the next command: <c>DISCARD ALL</c>; once Npgsql has prepared
    /// statements on the connection, the same without <c>DEALLOCATE</c>, so a statement that was prepared by SQL <c>PREPARE</c> survives.
    /// </summary>
    Full = 0,

    /// <summary><see cref="Full"/>, and all prepared statements are dropped as well. Costs one round trip for every return.</summary>
    Strict,

    /// <summary>Only an open transaction is ended. Settings, temporary tables, locks and <c>LISTEN</c> reach the next lease.</summary>
    Rollback,
}
