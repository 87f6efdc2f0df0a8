using SafePool.Maintenance;

namespace SafePool.Diagnostics;

/// <summary>The pulse of a pool: whether its timer comes in time, and how many leases it issues.</summary>
/// <remarks>Written by the timer alone. The timer needs a thread of the thread pool like everybody else, so one that is late tells of starvation.</remarks>
internal sealed class PoolVitals(PoolClock clock)
{
    private const int Beats = 16;
    private static readonly TimeSpan _memory = TimeSpan.FromSeconds(5);

    private readonly (long At, long Rents)[] _beats = new (long At, long Rents)[Beats];
    private long _count;
    private long _lastBeat = clock.Exact;
    private long _lateAt = long.MinValue;
    private long _lateTicks;

    public void Beat(long totalRents)
    {
        var now = clock.Exact;
        var late = clock.Since(Volatile.Read(ref _lastBeat)) - MaintenanceLoop.Period;
        if (late >= Late(now))
        {
            Volatile.Write(ref _lateTicks, late.Ticks);
            Volatile.Write(ref _lateAt, now);
        }

        _beats[_count++ % Beats] = (now, totalRents);
        Volatile.Write(ref _lastBeat, now);
    }

    /// <summary>By how much the timer is late now, or was at worst in the last seconds.</summary>
    public TimeSpan Lateness()
    {
        var now = clock.Since(Volatile.Read(ref _lastBeat)) - MaintenanceLoop.Period;
        var worst = Late(clock.Exact);
        return now > worst ? now : worst;
    }

    /// <summary>Leases issued per second over the last few seconds; 0 before two beats.</summary>
    public double RentsPerSecond()
    {
        var count = Volatile.Read(ref _count);
        if (count < 2)
        {
            return 0;
        }

        var newest = _beats[(count - 1) % Beats];
        var oldest = _beats[count < Beats ? 0 : count % Beats];
        var elapsed = clock.Provider.GetElapsedTime(oldest.At, newest.At).TotalSeconds;
        return elapsed > 0 ? (newest.Rents - oldest.Rents) / elapsed : 0;
    }

    private TimeSpan Late(long now)
        => Volatile.Read(ref _lateAt) is var at and not long.MinValue && clock.Provider.GetElapsedTime(at, now) < _memory
            ? TimeSpan.FromTicks(Volatile.Read(ref _lateTicks))
            : TimeSpan.Zero;
}
