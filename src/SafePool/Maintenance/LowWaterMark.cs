using SafePool.Time;

namespace SafePool.Maintenance;

/// <summary>The lowest value seen during a sliding window: how many idle connections were never needed.</summary>
/// <remarks>Values that a later, lower one has overtaken can never be the minimum again, so only the others are kept, in rising order.</remarks>
internal sealed class LowWaterMark(PoolClock clock)
{
    private readonly LinkedList<(long At, int Value)> _rising = new();
    private long? _begin;

    /// <summary>Notes a value; returns the lowest of the window that ends now, or 0 as long as the window has not been watched in full.</summary>
    public int Observe(int value, TimeSpan window)
    {
        var now = clock.Exact;
        _begin ??= now;
        while (_rising.Last is { } higher && higher.Value.Value > value)
        {
            _rising.RemoveLast();
        }

        // An equal one stays, with the time since when it has been that low.
        if (_rising.Last?.Value.Value != value)
        {
            _rising.AddLast((now, value));
        }

        // The last value before the window began was still in force when it did, so it counts.
        var windowBegin = now - clock.After(0, window);
        while (_rising.First?.Next is { } second && second.Value.At <= windowBegin)
        {
            _rising.RemoveFirst();
        }

        return _begin <= windowBegin ? _rising.First!.Value.Value : 0;
    }

    /// <summary>When the lowest value may be another one though the value stays as it is now; <see cref="long.MaxValue"/> if never. At once, when that value was not noted yet.</summary>
    public long NextChange(int value, TimeSpan window)
        => _begin is not { } begin || _rising.Last?.Value.Value != value ? clock.Exact
            : clock.After(begin, window) is var full && full > clock.Exact ? full
            : _rising.First?.Next is { } second ? clock.After(second.Value.At, window)
            : long.MaxValue;

    /// <summary>Starts over, because what was counted has changed.</summary>
    public void Restart()
    {
        _rising.Clear();
        _begin = null;
    }
}
