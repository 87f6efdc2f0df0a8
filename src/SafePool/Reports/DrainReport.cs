using System.Collections.Immutable;

namespace SafePool;

/// <summary>How <see cref="ConnectionPool.DrainAsync"/> ended.</summary>
/// <param name="Drained">Whether every lease came back in time.</param>
/// <param name="Remaining">The leases that did not, the longest held first.</param>
/// <param name="Elapsed">How long it took.</param>
public sealed record DrainReport(bool Drained, ImmutableArray<LeaseHolder> Remaining, TimeSpan Elapsed);
