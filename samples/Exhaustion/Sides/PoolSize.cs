namespace SafePool.Samples.Exhaustion.Sides;

/// <summary>What both sides are given alike.</summary>
/// <param name="Places">How many connections there are at most.</param>
/// <param name="AcquireTimeout">How long a rent may wait. Whole seconds: Npgsql counts in nothing smaller.</param>
internal sealed record PoolSize(int Places, TimeSpan AcquireTimeout);
