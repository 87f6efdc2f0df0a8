using SafePool.Renting;

namespace SafePool;

/// <summary>Why a pool ran out.</summary>
public enum PoolVerdict
{
    /// <summary>Nothing is wrong with the holders: there is more to do than the pool's connections can do.</summary>
    Undersized = 0,

    /// <summary>Leases were lost, or have been quiet for longer than their threshold.</summary>
    Leak,

    /// <summary>Leases are held without a command most of the time, or idle in a transaction: something slow is done in between.</summary>
    IdleHolders,

    /// <summary>Commands have been running for long.</summary>
    SlowQueries,

    /// <summary>Those who hold a lease wait for another one.</summary>
    NestedRents,

    /// <summary>The server takes long to accept connections.</summary>
    SlowConnects,

    /// <summary>The server cannot be reached, or does not answer.</summary>
    ServerUnreachable,

    /// <summary>The server has no room for more connections (error 53300).</summary>
    ServerFull,

    /// <summary>The process has no thread left to go on with what it holds.</summary>
    ThreadPoolStarvation,
}
