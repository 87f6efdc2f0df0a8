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

    /// <summary>Everybody waited for everybody, and nothing moved.</summary>
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

/// <summary>What there is, read at one moment; and the one place that says what full, room and surplus are.</summary>
/// <remarks>How many places the gate has besides, vacant, is its own affair: it keeps those of the largest size that the pool ever had.</remarks>
/// <param name="Idle">Connections at rest.</param>
/// <param name="Leased">Connections that somebody holds: a lease, or the pool itself for a moment.</param>
/// <param name="Opening">Opens under way.</param>
/// <param name="Quarantined">Connections that cannot be closed yet.</param>
/// <param name="Waiting">Requests in the queue.</param>
internal readonly record struct GateCounts(int Idle, int Leased, int Opening, int Quarantined, int Waiting)
{
    /// <summary>How many connections there are to be at most; there are more while a pool that was made smaller waits for leases to come back.</summary>
    public required int Size { get; init; }

    /// <summary>How many there may be now: fewer than <see cref="Size"/> while the server has no room for more.</summary>
    public required int Limit { get; init; }

    /// <summary>Whether nobody is let in for now.</summary>
    public bool IsPaused { get; init; }

    public int Connections => Idle + Leased + Quarantined;

    /// <summary>Connections, and those on their way.</summary>
    public int Existing => Connections + Opening;

    /// <summary>How many more may be opened now.</summary>
    public int Room => IsPaused ? 0 : Math.Max(0, Limit - Existing);

    /// <summary>How many there are too many, since the pool was made smaller.</summary>
    public int Surplus => Math.Max(0, Existing - Size);

    /// <summary>How many the pool lacks to be as large as it was made to be; those that are being opened among them.</summary>
    public int Missing => Math.Max(0, Size - Connections);

    /// <summary>Whether nobody is served before something comes back. Not in a pause: there its end is waited for, whatever comes back.</summary>
    public bool IsFull => !IsPaused && Idle == 0 && Opening == 0 && Room == 0;
}
