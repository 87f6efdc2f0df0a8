namespace SafePool.Maintenance;

/// <summary>The pool's time: exact where somebody waits, coarse on the hot path.</summary>
/// <remarks>
/// An exact timestamp would cost a rent a tenth of its time; the coarse one is written by the maintenance loop, four times a second. When that has not come by for
/// long, because it sleeps or because the whole process stood still, the clock is stale, and a rent that finds it so looks closer.
/// </remarks>
internal sealed class PoolClock(TimeProvider provider)
{
    // In milliseconds. A healthy loop is a quarter of a second late at most; the least quiet time after which a connection is asked for a sign of life.
    private const long StaleAfter = 1000;
    private const long Asleep = long.MinValue / 2;

    private readonly bool _isSystem = provider == TimeProvider.System;
    private long _coarse = provider.GetTimestamp();
    private long _beat = Asleep;

    public TimeProvider Provider => provider;

    public long Coarse => Volatile.Read(ref _coarse);

    public long Exact => provider.GetTimestamp();

    /// <summary>Whether the coarse time is not to be trusted. The hot path's question: a few nanoseconds.</summary>
    public bool IsStale => Milliseconds - Volatile.Read(ref _beat) > StaleAfter;

    // The cheapest of the system's clocks, which a time provider does not offer.
#pragma warning disable RS0030
    private long Milliseconds => _isSystem ? Environment.TickCount64 : provider.GetTimestamp() * 1000 / provider.TimestampFrequency;
#pragma warning restore RS0030

    /// <summary>Sets the coarse time.</summary>
    /// <returns>How long ago that was done last.</returns>
    public TimeSpan Refresh()
    {
        var now = provider.GetTimestamp();
        var gap = provider.GetElapsedTime(Interlocked.Exchange(ref _coarse, now), now);
        Volatile.Write(ref _beat, Milliseconds);
        return gap;
    }

    /// <summary>The loop goes to sleep: whoever rents next is to wake it.</summary>
    public void Suspend() => Interlocked.Exchange(ref _beat, Asleep);

    public TimeSpan Since(long timestamp) => provider.GetElapsedTime(timestamp);

    /// <summary>How long it takes until a timestamp; negative when it is past.</summary>
    public TimeSpan Until(long timestamp) => provider.GetElapsedTime(provider.GetTimestamp(), timestamp);

    /// <summary>The timestamp that lies <paramref name="span"/> after <paramref name="from"/>; <see cref="long.MaxValue"/> for an infinite one.</summary>
    public long After(long from, TimeSpan span)
        => span == Timeout.InfiniteTimeSpan ? long.MaxValue : from + (long)(span.TotalSeconds * provider.TimestampFrequency);
}
