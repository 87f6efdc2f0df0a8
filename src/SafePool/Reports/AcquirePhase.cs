namespace SafePool;

/// <summary>What a rent waits for.</summary>
public enum AcquirePhase
{
    /// <summary>For its turn: a lease to come back, or one of the concurrent opens to end.</summary>
    Queued = 0,

    /// <summary>For a physical connection that is being opened.</summary>
    Opening,

    /// <summary>For the sign of life of a connection that had been idle for long.</summary>
    Probing,
}
