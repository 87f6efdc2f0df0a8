namespace SafePool.LoadTests;

/// <summary>Timestamps of <see cref="TimeProvider.System"/>, as everything here is measured in.</summary>
internal static class Clock
{
    public static long Now => TimeProvider.System.GetTimestamp();

    public static TimeSpan Between(long from, long to) => TimeProvider.System.GetElapsedTime(from, to);

    public static long After(long timestamp, TimeSpan time) => timestamp + (long)(time.TotalSeconds * TimeProvider.System.TimestampFrequency);

    public static Task DelayUntilAsync(long timestamp)
        => Between(Now, timestamp) is { Ticks: > 0 } rest ? Task.Delay(rest, TimeProvider.System) : Task.CompletedTask;
}
