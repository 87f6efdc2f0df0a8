namespace SafePool.TestKit;

/// <summary>A clock that stands still until a test moves it.</summary>
/// <remarks>
/// <para>Thread-safety: reading, and creating or changing timers, from any thread; move time from one thread at a time.</para>
/// <para>No lock is held while a callback runs. A timer that is due at once fires with the next <see cref="Advance"/>,
/// by zero if need be, so that nothing ever runs on a thread that a test does not know.</para>
/// </remarks>
public sealed class ManualTimeProvider : TimeProvider
{
    private readonly Lock _gate = new();
    private readonly PriorityQueue<ManualTimer, (long Due, long Order)> _queue = new();
    private DateTimeOffset _utcNow = new(2030, 1, 1, 0, 0, 0, TimeSpan.Zero);
    private long _timestamp;
    private long _order;

    /// <inheritdoc/>
    /// <value>Always UTC, so that a test reads the same everywhere.</value>
    public override TimeZoneInfo LocalTimeZone => TimeZoneInfo.Utc;

    /// <inheritdoc/>
    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    /// <summary>Gets how many timers are armed: neither disposed, nor fired for the last time, nor set to infinite.</summary>
    public int ActiveTimers
    {
        get
        {
            lock (_gate)
            {
                return _queue.Count;
            }
        }
    }

    /// <inheritdoc/>
    public override DateTimeOffset GetUtcNow()
    {
        lock (_gate)
        {
            return _utcNow;
        }
    }

    /// <inheritdoc/>
    public override long GetTimestamp()
    {
        lock (_gate)
        {
            return _timestamp;
        }
    }

    /// <summary>Jumps the wall clock, as an administrator or NTP would. Elapsed time and timers do not notice.</summary>
    /// <param name="value">What the clock shows from now on; may lie in the past.</param>
    public void SetUtcNow(DateTimeOffset value)
    {
        lock (_gate)
        {
            _utcNow = value.ToUniversalTime();
        }
    }

    /// <summary>Moves time and fires what falls due on the way, in order of due time, on this thread.</summary>
    /// <param name="by">Zero or more. Timers that callbacks arm on the way fire too if they fall due before the end.</param>
    public void Advance(TimeSpan by)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(by, TimeSpan.Zero);

        var target = GetTimestamp() + by.Ticks;
        while (TakeDue(target) is { } timer)
        {
            timer.Fire();
        }
    }

    /// <summary>
    /// Moves time and fires nothing, as for a process that is stopped and goes on later: what fell due fires with the next <see
    /// cref="Advance"/>.
    /// </summary>
    /// <param name="by">Zero or more.</param>
    public void Freeze(TimeSpan by)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(by, TimeSpan.Zero);

        lock (_gate)
        {
            MoveLocked(_timestamp + by.Ticks);
        }
    }

    /// <inheritdoc/>
    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        ArgumentNullException.ThrowIfNull(callback);

        var timer = new ManualTimer(this, callback, state);
        timer.Change(dueTime, period);
        return timer;
    }

    internal bool Arm(ManualTimer timer, TimeSpan dueTime, TimeSpan period)
    {
        lock (_gate)
        {
            if (timer.IsDisposed)
            {
                return false;
            }

            _queue.Remove(timer, out _, out _);
            timer.Period = period;
            if (dueTime != Timeout.InfiniteTimeSpan)
            {
                EnqueueLocked(timer, _timestamp + dueTime.Ticks);
            }

            return true;
        }
    }

    internal void Disarm(ManualTimer timer)
    {
        lock (_gate)
        {
            timer.IsDisposed = true;
            _queue.Remove(timer, out _, out _);
        }
    }

    private ManualTimer? TakeDue(long target)
    {
        lock (_gate)
        {
            if (!_queue.TryPeek(out var timer, out var next) || next.Due > target)
            {
                MoveLocked(target);
                return null;
            }

            _queue.Dequeue();
            MoveLocked(next.Due);
            if (timer.Period > TimeSpan.Zero)
            {
                EnqueueLocked(timer, next.Due + timer.Period.Ticks);
            }

            return timer;
        }
    }

    private void EnqueueLocked(ManualTimer timer, long due) => _queue.Enqueue(timer, (due, _order++));

    private void MoveLocked(long timestamp)
    {
        // A callback may itself have advanced past this point; time never goes back.
        var step = Math.Max(0, timestamp - _timestamp);
        _timestamp += step;
        _utcNow = _utcNow.AddTicks(step);
    }
}
