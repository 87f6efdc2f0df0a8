using SafePool.TestKit;

namespace SafePool.Tests.Maintenance;

/// <summary>Pools that do not probe, so that what is said to idle connections is said for other reasons.</summary>
internal static class Unprobed
{
    public static ScriptedPool Create(Action<ConnectionPoolOptions>? configure = null)
        => ScriptedPool.Create(options =>
        {
            options.ProbeAfterIdle = options.ProbeAfterQuiet = Timeout.InfiniteTimeSpan;
            configure?.Invoke(options);
        });
}
