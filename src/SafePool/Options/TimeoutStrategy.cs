namespace SafePool;

/// <summary>How <see cref="ConnectionPoolOptions.StatementTimeout"/> and its kin get to the server.</summary>
/// <remarks>Directly connected, <see cref="Startup"/> is right. Behind a pooler nothing is right everywhere; docs/poolers.md says what works where.</remarks>
public enum TimeoutStrategy
{
    /// <summary>Finds out: <see cref="Startup"/> where the server has them in force, else what the pooler in between allows.</summary>
    Auto = 0,

    /// <summary>As start-up options of every session. Poolers refuse or drop them.</summary>
    Startup,

    /// <summary>By <c>SET</c> for every lease; by <c>SET LOCAL</c> in <c>lease.BeginTransaction</c> where a pooler hands out servers per transaction.</summary>
    PerLease,

    /// <summary>Not at all: they are set elsewhere, as with <c>ALTER ROLE … SET</c>.</summary>
    None,
}
