namespace SafePool.Breaker;

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
