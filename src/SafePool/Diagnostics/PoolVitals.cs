using SafePool.Time;

namespace SafePool.Diagnostics;

/// <summary>The pulse of a pool: how many leases it issues, and how the thread pool fares meanwhile.</summary>
/// <remarks>
/// <para>
/// Starvation is told by what is queued and what gets done, and by how long a work item of the pool's own waits, one at every beat. Not by how late the beat is: the runtime lets timers overtake. Nor by
/// the own item alone: what is queued globally, as that is, may overtake what is queued locally.
/// </para>
/// <para>Written by the timer alone. Threads are watched in the system's time, whatever the pool's clock is: they wait in real time.</para>
/// </remarks>
internal sealed class PoolVitals(PoolClock clock) : IThreadPoolWorkItem
{
    private const int Beats = 16;
    private static readonly TimeSpan _window = TimeSpan.FromSeconds(1);

    private readonly Pulse[] _beats = new Pulse[Beats];
    private long _count;
    private long _lastBeat = clock.Exact;
    private int _isQueued;
    private long _queuedAt;
    private long _ranAt = long.MinValue;
    private long _delay;

    /// <summary>For how long the maintenance loop has not come by: a quarter of a second, unless no thread has time for it.</summary>
    public TimeSpan SinceLastBeat => clock.Since(Volatile.Read(ref _lastBeat));

    public void Beat(long totalRents)
    {
        _beats[_count % Beats] = new Pulse(
            clock.Exact, totalRents, TimeProvider.System.GetTimestamp(), ThreadPool.PendingWorkItemCount, ThreadPool.CompletedWorkItemCount);
        Volatile.Write(ref _lastBeat, clock.Exact);
        Volatile.Write(ref _count, _count + 1);
        if (Interlocked.Exchange(ref _isQueued, 1) == 0)
        {
            Volatile.Write(ref _queuedAt, TimeProvider.System.GetTimestamp());
            ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: false);
        }
    }

    /// <summary>The work item whose delay is measured.</summary>
    void IThreadPoolWorkItem.Execute()
    {
        var now = TimeProvider.System.GetTimestamp();
        Volatile.Write(ref _delay, now - Volatile.Read(ref _queuedAt));
        Volatile.Write(ref _ranAt, now);
        Volatile.Write(ref _isQueued, 0);
    }

    /// <summary>What was queued all the time, and what got done, in the last second or a little more; nothing when too few beats have watched.</summary>
    public ThreadFacts Threads()
    {
        var waiting = ThreadPool.PendingWorkItemCount;
        var isWatched = clock.Since(Volatile.Read(ref _lastBeat)) - MaintenanceLoop.Period >= _window;
        var count = Volatile.Read(ref _count);
        for (var i = count - 1; i >= 0 && i > count - Beats; i--)
        {
            var beat = _beats[i % Beats];
            var elapsed = TimeProvider.System.GetElapsedTime(beat.SystemAt);
            if (elapsed >= _window)
            {
                return isWatched
                    ? new ThreadFacts { Waiting = waiting, Done = ThreadPool.CompletedWorkItemCount - beat.Done, Elapsed = elapsed, Threads = ThreadPool.ThreadCount, Delay = Delay() }
                    : new ThreadFacts();
            }

            waiting = Math.Min(waiting, beat.Waiting);
            isWatched = true;
        }

        return new ThreadFacts();
    }

    /// <summary>Of the item that waits, or has run lately; or of a beat that has not come, where not even timers get a thread.</summary>
    private TimeSpan Delay()
    {
        var late = clock.RunningSince(Volatile.Read(ref _lastBeat)) - MaintenanceLoop.Period;
        var item = Volatile.Read(ref _isQueued) == 1 ? TimeProvider.System.GetElapsedTime(Volatile.Read(ref _queuedAt))
            : Volatile.Read(ref _ranAt) is var ranAt and not long.MinValue && TimeProvider.System.GetElapsedTime(ranAt) <= _window
                ? TimeProvider.System.GetElapsedTime(0, Volatile.Read(ref _delay))
            : TimeSpan.Zero;
        return item > late ? item : late > TimeSpan.Zero ? late : TimeSpan.Zero;
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

    private readonly record struct Pulse(long At, long Rents, long SystemAt, long Waiting, long Done);
}
