namespace SafePool.Time;

/// <summary>When the process stood still: stopped by a signal, suspended with its container, held by a debugger.</summary>
/// <remarks>
/// <para>
/// Somebody looks at least every <see cref="Promised"/>. When nobody did for a second longer than that, nobody could, and what exceeds
/// the promise was a freeze. Looks are the ticks of maintenance, and everybody who asks: so a pool
/// whose ticks are only late because the thread pool is starved, but whose callers go on asking, has not stood still.
/// </para>
/// <para>Thread-safety: every member may be called from any thread.</para>
/// </remarks>
internal sealed class FrozenTime(TimeProvider provider)
{
    // Less is what a busy machine or a starved thread pool makes of a tick.
    private static readonly TimeSpan _tolerance = TimeSpan.FromSeconds(1);

    private readonly Lock _gate = new();

    // The last few. Of one that was forgotten the time counts as any other.
    private readonly (long At, long Ticks)[] _freezes = new (long, long)[16];
    private long _seen = provider.GetTimestamp();
    private int _count;
    private TimeSpan _promised = Timeout.InfiniteTimeSpan;

    /// <summary>
    /// How long it takes at most until the next look; infinite, as it is at first, when nobody looks and nothing is noticed.
    /// </summary>
    public TimeSpan Promised
    {
        get
        {
            lock (_gate)
            {
                return _promised;
            }
        }

        set
        {
            lock (_gate)
            {
                LookLocked(provider.GetTimestamp());
                _promised = value;
            }
        }
    }

    /// <summary>The process runs now.</summary>
    public void Look()
    {
        lock (_gate)
        {
            LookLocked(provider.GetTimestamp());
        }
    }

    /// <summary>For how long the process has stood still between then and now.</summary>
    public TimeSpan Since(long timestamp)
    {
        lock (_gate)
        {
            LookLocked(provider.GetTimestamp());
            var frozen = 0L;
            for (var i = 0; i < Math.Min(_count, _freezes.Length); i++)
            {
                var (at, ticks) = _freezes[i];
                frozen += Math.Clamp(at - timestamp, 0, ticks);
            }

            return provider.GetElapsedTime(0, frozen);
        }
    }

    private void LookLocked(long now)
    {
        var gap = provider.GetElapsedTime(_seen, now);
        if (_promised != Timeout.InfiniteTimeSpan && gap > _promised + _tolerance)
        {
            _freezes[_count++ % _freezes.Length] = (now, (long)((gap - _promised).TotalSeconds * provider.TimestampFrequency));
        }

        _seen = Math.Max(_seen, now);
    }
}
