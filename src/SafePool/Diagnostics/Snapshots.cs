using SafePool.Admission;

namespace SafePool.Diagnostics;

/// <summary>Takes pictures of a pool.</summary>
internal static class Snapshots
{
    /// <param name="parts">The pool.</param>
    /// <param name="counts">As they were when it mattered; the rest is read now.</param>
    public static PoolSnapshot Of(PoolParts parts, GateCounts counts)
        => new()
        {
            Name = parts.Settings.Name,
            MaxSize = counts.Size,
            EffectiveMaxSize = parts.Gate.Limit,
            IsPaused = counts.IsPaused,
            Circuit = parts.Breaker.State,
            Leased = counts.Leased,
            Idle = counts.Idle,
            Opening = counts.Opening,
            Quarantined = counts.Quarantined,
            Waiting = counts.Waiting,
            LastConnectError = parts.Opens.LastError,
            Holders = parts.Holders.All(),
            TotalRents = parts.Ledger.TotalRents,
            TotalWaits = parts.Totals.Waits,
            TotalTimeouts = parts.Totals.Timeouts,
            TotalRejected = parts.Totals.Rejected,
            TotalOpened = parts.Physicals.TotalOpened,
            TotalClosed = parts.Physicals.TotalClosed,
            TotalLeaksReported = parts.Reports.Total,
            TotalReclaimed = parts.Reports.Reclaimed,
        };

    public static PoolSnapshot Of(PoolParts parts) => Of(parts, parts.Gate.Read());
}
