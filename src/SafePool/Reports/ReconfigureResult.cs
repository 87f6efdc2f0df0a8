using System.Collections.Immutable;

namespace SafePool;

/// <summary>What came of <see cref="ConnectionPool.Reconfigure(Action{ConnectionPoolOptions})"/>, by names of options such as <c>MaxSize</c> and <c>Leaks.Threshold</c>.</summary>
/// <param name="Applied">Those that were changed, and are in force.</param>
/// <param name="Refused">Those that cannot change while the pool lives: they keep their values. It takes a new pool.</param>
public sealed record ReconfigureResult(ImmutableArray<string> Applied, ImmutableArray<string> Refused);
