using SafePool.Reports;

namespace SafePool;

/// <summary>How many connections of a server have something in common.</summary>
/// <param name="Name">What they have in common: a state, a database, an application, a role. Empty where a session has none; null where the pool's role may not see it.</param>
/// <param name="Count">At least 1.</param>
public sealed record ConnectionCount(string? Name, int Count)
{
    /// <summary>The count and the name.</summary>
    /// <returns><c>12 idle</c>.</returns>
    public override string ToString() => $"{Count} {SessionWords.Name(Name)}";
}
