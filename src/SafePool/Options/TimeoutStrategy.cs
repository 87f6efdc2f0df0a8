namespace SafePool;

/// <summary>How <see cref="ConnectionPoolOptions.StatementTimeout"/> and its kin get to the server.</summary>
/// <remarks>Directly connected, <see cref="Startup"/> is right. Behind a pooler nothing is right everywhere; docs/poolers.md says what works where.</remarks>
public enum TimeoutStrategy
{
    /// <summary>
    /// Finds out with the first connection: <see cref="Startup"/> where the server has them in force then; else, with one warning that names the cure, <see cref="PerLease"/>.
    /// </summary>
    Auto = 0,

    /// <summary>As start-up options of every session. PgBouncer refuses them, or drops them, which is warned about.</summary>
    Startup,

    /// <summary>
    /// By <c>SET</c> for every lease, which costs a round trip each; by <c>SET LOCAL</c> in <c>lease.BeginTransaction</c>, and not otherwise, where a pooler hands out servers per transaction or
    /// could not be found out not to: a <c>SET</c> would stay behind there, for whoever gets that server next.
    /// </summary>
    PerLease,

    /// <summary>Not at all, and nobody asks whether they are in force: they are set elsewhere, as with <c>ALTER ROLE … SET</c>.</summary>
    None,
}
