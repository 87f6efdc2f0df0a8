using System.Collections.Immutable;
using SafePool.Admission;
using SafePool.Breaker;
using SafePool.Driver;
using SafePool.Leases;
using SafePool.Renting;

namespace SafePool.Diagnostics;

/// <summary>All that a verdict is made of, read at one moment.</summary>
internal sealed record PoolFacts
{
    public required GateCounts Counts { get; init; }

    /// <summary>The longest held first.</summary>
    public required ImmutableArray<LeaseHolder> Holders { get; init; }

    /// <summary>The holders that are waiting for another lease themselves, by lease id.</summary>
    public ImmutableHashSet<long> WaitingHolders { get; init; } = [];

    /// <summary>Where most of them wait; null when that is not known, without <see cref="LeakOptions.NestedRents"/>.</summary>
    public string? InnerSite { get; init; }

    /// <summary>Every holder waits, and nothing has moved for long: the rent that failed gave way.</summary>
    public bool IsDeadlock { get; init; }

    public OpenFacts Opens { get; init; } = new();

    /// <summary>The user's hooks that run at this moment.</summary>
    public ImmutableArray<HookFacts> Hooks { get; init; } = [];

    /// <summary>How much of the places' time hooks have taken lately; null for nothing.</summary>
    public HookShare? HookShare { get; init; }

    /// <summary>For how long places without a lease have waited for the server's answer: on their way back, or to their next lease. Hooks of a return are among them.</summary>
    public ImmutableArray<TimeSpan> Unanswered { get; init; } = [];

    /// <summary>What one more connection was refused with, while the pool has gone on with fewer than its size since; null when nobody has.</summary>
    public Exception? Refusal { get; init; }

    /// <summary>How long ago the server last failed to answer the control connection; null when it has answered since, or was not asked.</summary>
    public TimeSpan? ServerSilentFor { get; init; }

    public ThreadFacts Threads { get; init; } = new();

    public double RentsPerSecond { get; init; }

    public TimeSpan? MeanHold { get; init; }

    /// <summary>The median hold of leases rented elsewhere than at a given line.</summary>
    public Func<LeaseHolder, TimeSpan?> MedianHoldElsewhere { get; init; } = _ => null;

    public bool HasStatementTimeout { get; init; }

    public int MinSize { get; init; }
}

/// <summary>A hook that runs.</summary>
/// <param name="Name">Its option.</param>
/// <param name="For">How long it has been running.</param>
/// <param name="IsRenting">It waits for a lease of the same pool.</param>
internal readonly record struct HookFacts(string Name, TimeSpan For, bool IsRenting);

/// <summary>How the thread pool fares.</summary>
internal sealed record ThreadFacts
{
    /// <summary>How many work items were queued at every look; fewer than now.</summary>
    public long Waiting { get; init; }

    /// <summary>How many were done between the first look and now.</summary>
    public long Done { get; init; }

    public TimeSpan Elapsed { get; init; }

    public int Threads { get; init; }

    /// <summary>How long a work item of the pool's own has waited for a thread, within the last second or until now.</summary>
    public TimeSpan Delay { get; init; }

    /// <summary>At this rate the last of them waits for more than a second; or one has waited for half of one, and others wait behind it.</summary>
    public bool IsStarved => Waiting * Elapsed.TotalSeconds > Done || (Waiting > 0 && Delay >= TimeSpan.FromSeconds(0.5));
}
