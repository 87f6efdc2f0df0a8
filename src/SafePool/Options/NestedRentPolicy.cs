namespace SafePool;

/// <summary>What happens when a flow that holds a lease rents another one from the same pool, which can end in all of them waiting for each other.</summary>
/// <remarks>
/// A flow is what an <see cref="System.Threading.AsyncLocal{T}"/> follows: callees, awaits, and tasks that were started while the lease was held. A task that is started and not awaited
/// counts as nested, though its starter may return the lease before it ends.
/// </remarks>
public enum NestedRentPolicy
{
    /// <summary>Nobody looks, which costs nothing. A verdict still names nesting where trace ids show it.</summary>
    Off = 0,

    /// <summary>A warning, once for every pair of lines. Costs an object and a change of the execution context for each rent.</summary>
    Warn,

    /// <summary>The inner rent throws <see cref="InvalidOperationException"/>. Costs the same.</summary>
    Throw,
}
