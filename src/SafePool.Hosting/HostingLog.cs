using Microsoft.Extensions.Logging;

namespace SafePool.Hosting;

internal static partial class HostingLog
{
    [LoggerMessage(200, LogLevel.Error, "Pool '{PoolName}': its configuration has changed and is at fault, so everything stays as it was. {Faults}")]
    public static partial void ReloadRefused(ILogger logger, string poolName, string faults);

    [LoggerMessage(201, LogLevel.Warning, "Pool '{PoolName}': could not be warmed up to its MinSize; it goes on trying, and readiness waits for it.")]
    public static partial void WarmUpFailed(ILogger logger, string poolName, Exception error);

    [LoggerMessage(202, LogLevel.Information, "Pool '{PoolName}': drained in {Seconds:0.0} s.")]
    public static partial void Drained(ILogger logger, string poolName, double seconds);

    [LoggerMessage(203, LogLevel.Warning, "Pool '{PoolName}': the host has stopped and {Count} leases are still out; their connections are closed when they come back. {Holders}")]
    public static partial void NotDrained(ILogger logger, string poolName, int count, string holders);
}
