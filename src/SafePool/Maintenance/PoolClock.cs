namespace SafePool.Maintenance;

/// <summary>The pool's time: exact where somebody waits, coarse on the hot path.</summary>
/// <remarks>An exact timestamp would cost a rent a tenth of its time; the coarse one is written by the maintenance loop, four times a second.</remarks>
internal sealed class PoolClock(TimeProvider provider)
{
    private long _coarse = provider.GetTimestamp();

    public TimeProvider Provider => provider;

    public long Coarse => Volatile.Read(ref _coarse);

    public long Exact => provider.GetTimestamp();

    public void Refresh() => Volatile.Write(ref _coarse, provider.GetTimestamp());

    public TimeSpan Since(long timestamp) => provider.GetElapsedTime(timestamp);

    /// <summary>How long it takes until a timestamp; negative when it is past.</summary>
    public TimeSpan Until(long timestamp) => provider.GetElapsedTime(provider.GetTimestamp(), timestamp);

    /// <summary>The timestamp that lies <paramref name="span"/> after <paramref name="from"/>; <see cref="long.MaxValue"/> for an infinite one.</summary>
    public long After(long from, TimeSpan span)
        => span == Timeout.InfiniteTimeSpan ? long.MaxValue : from + (long)(span.TotalSeconds * provider.TimestampFrequency);
}
