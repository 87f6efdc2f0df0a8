using System.Collections.Immutable;
using SafePool.Diagnostics;

namespace SafePool;

/// <summary>The pool at one moment.</summary>
/// <remarks>Leased, idle, opening, quarantined and vacant places add up to <see cref="MaxSize"/>; vacant is the rest.</remarks>
public sealed record PoolSnapshot
{
    /// <summary>Gets the pool's name.</summary>
    public required string Name { get; init; }

    /// <summary>Gets <see cref="ConnectionPoolOptions.MaxSize"/>.</summary>
    public required int MaxSize { get; init; }

    /// <summary>Gets how many connections the server has room for, as far as it is known: less than <see cref="MaxSize"/> once it has refused one.</summary>
    public required int EffectiveMaxSize { get; init; }

    /// <summary>Gets whether connections are being opened for those who ask.</summary>
    public required CircuitState Circuit { get; init; }

    /// <summary>Gets whether the pool is paused (<see cref="IConnectionPool.PauseAsync"/>).</summary>
    public bool IsPaused { get; init; }

    /// <summary>Gets how many places are held by leases, or by the pool for a moment while it closes or retires their connection.</summary>
    public required int Leased { get; init; }

    /// <summary>Gets how many open connections are at rest.</summary>
    public required int Idle { get; init; }

    /// <summary>Gets how many connections are being opened.</summary>
    public required int Opening { get; init; }

    /// <summary>Gets how many places wait for a connection to die that could not be closed.</summary>
    public required int Quarantined { get; init; }

    /// <summary>Gets how many callers wait.</summary>
    public required int Waiting { get; init; }

    /// <summary>Gets what the last open that failed threw; null after one that succeeded.</summary>
    public Exception? LastConnectError { get; init; }

    /// <summary>Gets the leases that are out, the longest held first.</summary>
    public ImmutableArray<LeaseHolder> Holders { get; init; } = [];

    /// <summary>Gets how many leases were ever issued.</summary>
    public required long TotalRents { get; init; }

    /// <summary>Gets how many rents had to wait.</summary>
    public required long TotalWaits { get; init; }

    /// <summary>Gets how many rents ran out of time.</summary>
    public required long TotalTimeouts { get; init; }

    /// <summary>Gets how many rents failed at once: the queue was full, the circuit open, or the pool exhausted for too long.</summary>
    public required long TotalRejected { get; init; }

    /// <summary>Gets how many physical connections were opened.</summary>
    public required long TotalOpened { get; init; }

    /// <summary>Gets how many physical connections the pool has seen end, by itself or by others.</summary>
    public required long TotalClosed { get; init; }

    /// <summary>Gets how many leases were reported as leaked.</summary>
    public required long TotalLeaksReported { get; init; }

    /// <summary>Gets how many leaked leases were taken back.</summary>
    public required long TotalReclaimed { get; init; }
}
