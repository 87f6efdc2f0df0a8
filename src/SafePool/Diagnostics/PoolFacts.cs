using System.Collections.Immutable;
using SafePool.Admission;

namespace SafePool.Diagnostics;

/// <summary>All that a verdict is made of, read at one moment.</summary>
internal sealed record PoolFacts
{
    public required GateCounts Counts { get; init; }

    /// <summary>The longest held first.</summary>
    public required ImmutableArray<LeaseHolder> Holders { get; init; }

    /// <summary>The holders that are waiting for another lease themselves, by lease id.</summary>
    public ImmutableHashSet<long> WaitingHolders { get; init; } = [];

    /// <summary>The flow of the rent that failed closed the circle: every holder waits.</summary>
    public bool IsDeadlock { get; init; }

    public OpenFacts Opens { get; init; } = new();

    /// <summary>For how long the server has not answered the control connection; null when it has, or was not asked.</summary>
    public TimeSpan? ServerSilentFor { get; init; }

    public ThreadFacts Threads { get; init; } = new();

    public double RentsPerSecond { get; init; }

    public TimeSpan? MeanHold { get; init; }

    /// <summary>The median hold of leases rented elsewhere than at a given line.</summary>
    public Func<LeaseHolder, TimeSpan?> MedianHoldElsewhere { get; init; } = _ => null;

    public bool HasStatementTimeout { get; init; }

    public int MinSize { get; init; }
}

/// <summary>How opens have fared.</summary>
internal sealed record OpenFacts
{
    /// <summary>What the last open failed with; null after one that succeeded.</summary>
    public Exception? LastError { get; init; }

    public TimeSpan SinceLastError { get; init; }

    /// <summary>For how long the oldest of the opens under way has been at it; null when there is none.</summary>
    public TimeSpan? OldestPending { get; init; }

    /// <summary>How long the last open that succeeded took; null before the first.</summary>
    public TimeSpan? LastDuration { get; init; }
}

/// <summary>How the thread pool fares.</summary>
internal sealed record ThreadFacts
{
    public long PendingWorkItems { get; init; }

    public int Threads { get; init; }

    /// <summary>By how much the pool's own timer is late.</summary>
    public TimeSpan Lateness { get; init; }

    public bool IsStarved => PendingWorkItems > 0 && Lateness >= TimeSpan.FromSeconds(1);
}
