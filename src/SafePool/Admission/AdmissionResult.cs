namespace SafePool.Admission;

/// <summary>How a request for a place ended.</summary>
internal enum AdmissionOutcome
{
    /// <summary>The request waits in the queue; its <see cref="Waiter"/> will tell.</summary>
    Queued,

    /// <summary>A place was granted.</summary>
    Granted,

    /// <summary>The budget ran out.</summary>
    TimedOut,

    /// <summary>The caller's token was cancelled.</summary>
    Cancelled,

    /// <summary>The queue was full.</summary>
    Rejected,

    /// <summary>Its waiting closed a circle in which everybody waits for everybody.</summary>
    Deadlocked,

    /// <summary>An open failed on the request's behalf; <see cref="AdmissionResult.Error"/> says how.</summary>
    Failed,

    /// <summary>Nothing is idle, and no open has succeeded for too long.</summary>
    CircuitOpen,

    /// <summary>All is leased, and nothing has come back for too long.</summary>
    Stuck,

    /// <summary>The pool is closed.</summary>
    Closed,
}

/// <summary>The outcome of a request: the place where one was granted, or else why not. No larger than two words, because every hand-over writes and reads one.</summary>
internal readonly record struct AdmissionResult(AdmissionOutcome Outcome, int Place = -1, Unadmitted? Why = null)
{
    /// <summary>With the counts at the moment when none was granted.</summary>
    public AdmissionResult(AdmissionOutcome outcome, in GateCounts counts, AcquirePhase phase = AcquirePhase.Queued)
        : this(outcome, Why: new Unadmitted(counts, phase))
    {
    }

    /// <summary>With what an open failed with.</summary>
    public AdmissionResult(Exception error)
        : this(AdmissionOutcome.Failed, Why: new Unadmitted(default, AcquirePhase.Opening, error))
    {
    }

    public GateCounts Counts => Why?.Counts ?? default;

    public AcquirePhase Phase => Why?.Phase ?? AcquirePhase.Queued;

    public Exception? Error => Why?.Error;
}

/// <summary>What there is to say about a request that was not granted.</summary>
internal sealed record Unadmitted(GateCounts Counts, AcquirePhase Phase, Exception? Error = null);

/// <summary>The terms of the equation, read at one moment.</summary>
internal readonly record struct GateCounts(int Places, int Idle, int Opening, int Vacant, int Quarantined, int Waiting)
{
    /// <summary>How many connections there are to be at most; more while a pool that was made smaller waits for leases to come back.</summary>
    public int Size { get; init; } = Places;

    /// <summary>Whether nobody is let in for now.</summary>
    public bool IsPaused { get; init; }

    /// <summary>The places that have a connection.</summary>
    public int Connections => Places - Vacant - Opening;

    public int Leased => Places - Idle - Opening - Vacant - Quarantined;
}
