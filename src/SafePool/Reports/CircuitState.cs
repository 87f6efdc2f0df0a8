namespace SafePool;

/// <summary>Whether the pool tries to open connections for those who ask.</summary>
public enum CircuitState
{
    /// <summary>Yes.</summary>
    Closed = 0,

    /// <summary>No: opens have failed for too long. What is idle is served, everybody else fails at once.</summary>
    Open,

    /// <summary>Still no, but one open is being tried to see whether the server is back.</summary>
    Probing,
}
