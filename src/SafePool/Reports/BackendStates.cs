namespace SafePool.Reports;

/// <summary>What <c>pg_stat_activity.state</c> says.</summary>
internal static class BackendStates
{
    public const string Idle = "idle";
    public const string InTransaction = "idle in transaction";
    public const string InFailedTransaction = "idle in transaction (aborted)";
}
