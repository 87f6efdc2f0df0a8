namespace SafePool.Time;

/// <summary>The pool's time: exact where somebody waits, coarse on the hot path.</summary>
/// <remarks>
/// An exact timestamp would cost a rent a tenth of its time; the coarse one is written by the maintenance loop, four times a second.
/// When that has not come by for long, because it sleeps or because the whole process stood still, the clock is stale, and a rent
/// that finds it so looks closer.
/// Where time is evidence against somebody (a server that is silent, a holder who keeps a lease),
/// only that counts in which the process ran: <see cref="RunningSince"/>.
/// </remarks>
internal sealed class PoolClock(TimeProvider provider)
{
    // Finer than timers are.
    private static readonly TimeSpan _fraction = TimeSpan.FromMilliseconds(1);

    // In milliseconds. A healthy loop is a quarter of a second late at most; and no connection is asked for a sign of life after less.
    private const long StaleAfter = 1000;
    private const long Asleep = long.MinValue / 2;

    private readonly bool _isSystem = provider == TimeProvider.System;
    private readonly FrozenTime _frozen = new(provider);
    private long _coarse = provider.GetTimestamp();
    private long _beat = Asleep;

    public TimeProvider Provider => provider;

    public long Coarse => Volatile.Read(ref _coarse);

    public long Exact => provider.GetTimestamp();

    /// <summary>Whether the coarse time is not to be trusted. The hot path's question: a few nanoseconds.</summary>
    public bool IsStale => Milliseconds - Volatile.Read(ref _beat) > StaleAfter;

    /// <summary>
    /// How long it takes at most from one <see cref="Refresh"/> to the next; infinite when there is none to come. What is far beyond is
    /// a freeze.
    /// </summary>
    public TimeSpan Promised
    {
        get => _frozen.Promised;
        set => _frozen.Promised = value;
    }

    // The cheapest of the system's clocks, which a time provider does not offer.
#pragma warning disable RS0030
    private long Milliseconds => _isSystem ? Environment.TickCount64 : provider.GetTimestamp() * 1000 / provider.TimestampFrequency;
#pragma warning restore RS0030

    /// <summary>Sets the coarse time.</summary>
    public void Refresh()
    {
        _frozen.Look();
        Volatile.Write(ref _coarse, provider.GetTimestamp());
        Volatile.Write(ref _beat, Milliseconds);
    }

    /// <summary>The loop goes to sleep: whoever rents next is to wake it.</summary>
    public void Suspend() => Interlocked.Exchange(ref _beat, Asleep);

    public TimeSpan Since(long timestamp) => provider.GetElapsedTime(timestamp);

    /// <summary>The same, without the time in which the process stood still (<see cref="FrozenTime"/>).</summary>
    public TimeSpan RunningSince(long timestamp)
        => Since(timestamp) - FrozenSince(timestamp) is var running && running > TimeSpan.Zero ? running : TimeSpan.Zero;

    /// <inheritdoc cref="FrozenTime.Since"/>
    public TimeSpan FrozenSince(long timestamp) => _frozen.Since(timestamp);

    /// <summary>Waits for something for so long as the process runs: an answer that came while it stood still is not late.</summary>
    /// <exception cref="TimeoutException">It did not end within <paramref name="patience"/>.</exception>
    public async Task<T> WaitAsync<T>(Task<T> work, TimeSpan patience, CancellationToken cancellationToken)
    {
        var begun = Exact;
        var left = patience;
        while (true)
        {
            try
            {
                return await work.WaitAsync(left, provider, cancellationToken).ConfigureAwait(false);
            }
            catch (TimeoutException) when (!work.IsCompleted && patience - RunningSince(begun) > _fraction)
            {
                left = patience - RunningSince(begun);
            }
        }
    }

    /// <summary>How long it takes until a timestamp; negative when it is past.</summary>
    public TimeSpan Until(long timestamp) => provider.GetElapsedTime(provider.GetTimestamp(), timestamp);

    /// <summary>The timestamp that lies <paramref name="span"/> after <paramref name="from"/>; <see cref="long.MaxValue"/> for an infinite one.</summary>
    public long After(long from, TimeSpan span)
        => span == Timeout.InfiniteTimeSpan ? long.MaxValue : from + (long)(span.TotalSeconds * provider.TimestampFrequency);
}
