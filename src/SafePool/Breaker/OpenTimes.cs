using System.Collections.Concurrent;
using SafePool.Telemetry;
using SafePool.Time;

namespace SafePool.Breaker;

/// <summary>How opens have fared: what failed last, what is under way since when, how long they take.</summary>
internal sealed class OpenTimes(PoolClock clock, PoolTelemetry telemetry)
{
    private readonly ConcurrentDictionary<int, long> _begunAt = new();
    private Exception? _lastError;
    private Exception? _lastFailure;
    private long _failedAt;
    private long _lastTicks = -1;

    /// <summary>What the last open failed with; null after one that succeeded.</summary>
    public Exception? LastError => Volatile.Read(ref _lastError);

    /// <summary>What the last open that failed failed with, whatever came after it.</summary>
    public Exception? LastFailure => Volatile.Read(ref _lastFailure);

    public void Began(int place) => _begunAt[place] = clock.Exact;

    /// <summary>When the open of a place that is opening began.</summary>
    public long BegunAt(int place) => _begunAt[place];

    public void Succeeded(int place)
    {
        var took = clock.Since(_begunAt[place]);
        telemetry.Opened(took);
        Volatile.Write(ref _lastTicks, took.Ticks);
        Volatile.Write(ref _lastError, null);
        _begunAt.TryRemove(place, out _);
    }

    /// <summary>It brought what was at rest already, which proves nothing.</summary>
    public void FoundOneAtRest(int place) => _begunAt.TryRemove(place, out _);

    public void Failed(int place, Exception error)
    {
        telemetry.Opened(clock.Since(_begunAt[place]), error);
        Volatile.Write(ref _failedAt, clock.Exact);
        Volatile.Write(ref _lastFailure, error);
        Volatile.Write(ref _lastError, error);
        _begunAt.TryRemove(place, out _);
    }

    public OpenFacts Read()
    {
        var oldest = long.MaxValue;
        foreach (var (_, begunAt) in _begunAt)
        {
            oldest = Math.Min(oldest, begunAt);
        }

        return new OpenFacts
        {
            LastError = LastError,
            SinceLastError = clock.Since(Volatile.Read(ref _failedAt)),
            OldestPending = oldest == long.MaxValue ? null : clock.Since(oldest),
            LastDuration = Volatile.Read(ref _lastTicks) is >= 0 and var ticks ? TimeSpan.FromTicks(ticks) : null,
        };
    }
}
