using Microsoft.Extensions.Logging;

namespace SafePool.Telemetry;

/// <summary>Every line that the pool logs. Warning: a person should act. Information: a rare change. Debug: per connection.</summary>
internal static partial class Log
{
    [LoggerMessage(100, LogLevel.Warning, "Pool '{PoolName}': {Lease} was lost without being returned, and taken back. Declare it with 'using'.")]
    public static partial void LeaseDropped(ILogger logger, string poolName, string lease);

    [LoggerMessage(101, LogLevel.Information, "Pool '{PoolName}': a full collection was started to find dropped leases ({Leased} of {MaxSize} leased, {Waiting} waiting).")]
    public static partial void CollectionInduced(ILogger logger, string poolName, int leased, int maxSize, int waiting);

    [LoggerMessage(110, LogLevel.Warning, "Pool '{PoolName}': a transaction left open by the lease rented at {Site} was rolled back. Commit it, or dispose it before the lease.")]
    public static partial void TransactionRolledBack(ILogger logger, string poolName, string site);

    [LoggerMessage(111, LogLevel.Warning, "Pool '{PoolName}': the lease rented at {Site} came back while its connection was busy ({State}); the command was cancelled.")]
    public static partial void ReturnedBusy(ILogger logger, string poolName, string site, string state);

    [LoggerMessage(112, LogLevel.Warning, "Pool '{PoolName}': the connection of the lease rented at {Site} could not be closed within {PatienceSeconds:F1} s; its backend was told to end, its place is quarantined until the connection is gone.")]
    public static partial void Quarantined(ILogger logger, string poolName, string site, double patienceSeconds);

    [LoggerMessage(113, LogLevel.Information, "Pool '{PoolName}': a quarantined connection is gone; its place is free again.")]
    public static partial void QuarantineEnded(ILogger logger, string poolName);

    [LoggerMessage(114, LogLevel.Warning, "Pool '{PoolName}': the connection of the lease rented at {Site} could not be returned and was retired.")]
    public static partial void ReturnFailed(ILogger logger, string poolName, string site, Exception error);

    [LoggerMessage(115, LogLevel.Warning, "Pool '{PoolName}': the hook {Hook} threw; the connection was retired.")]
    public static partial void HookFailed(ILogger logger, string poolName, string hook, Exception error);

    [LoggerMessage(120, LogLevel.Warning, "Pool '{PoolName}': {Parameter} is '{Actual}' on the server, not {Wanted} ms: something between drops start-up options (PgBouncer does). Set it with ALTER ROLE … SET {Parameter}.")]
    public static partial void TimeoutNotInForce(ILogger logger, string poolName, string parameter, string actual, string wanted);

    [LoggerMessage(121, LogLevel.Debug, "Pool '{PoolName}': an open failed.")]
    public static partial void OpenFailed(ILogger logger, string poolName, Exception error);

    [LoggerMessage(122, LogLevel.Warning, "Pool '{PoolName}': MinSize ({MinSize}) cannot be kept up: an open failed; next attempt in {PauseSeconds:F1} s.")]
    public static partial void FillFailed(ILogger logger, string poolName, int minSize, double pauseSeconds, Exception error);

    [LoggerMessage(123, LogLevel.Debug, "Pool '{PoolName}': {Count} idle connections were retired ({Reason}).")]
    public static partial void Retired(ILogger logger, string poolName, int count, string reason);

    [LoggerMessage(124, LogLevel.Information, "Pool '{PoolName}': cleared; every connection opened before now is retired.")]
    public static partial void Cleared(ILogger logger, string poolName);

    [LoggerMessage(125, LogLevel.Warning, "Pool '{PoolName}': a leased connection broke, so all older ones are retired.")]
    public static partial void Broken(ILogger logger, string poolName);

    [LoggerMessage(126, LogLevel.Debug, "Pool '{PoolName}': the control connection could not {Task}.")]
    public static partial void ControlFailed(ILogger logger, string poolName, string task, Exception error);

    [LoggerMessage(130, LogLevel.Error, "Pool '{PoolName}': a maintenance step failed; the next tick tries again.")]
    public static partial void MaintenanceFailed(ILogger logger, string poolName, Exception error);
}
