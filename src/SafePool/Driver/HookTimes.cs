using SafePool.Time;

namespace SafePool.Driver;

/// <summary>How much of the time of the pool's places its hooks have taken lately: many short runs keep them as a long one does.</summary>
/// <remarks>Thread-safety: a lock, held for a few additions. Nobody comes here without a hook.</remarks>
internal sealed class HookTimes(PoolClock clock)
{
    // Two seconds, and the step that has begun.
    private const int Steps = 17;

    private readonly long _length = clock.Provider.TimestampFrequency / 8;
    private readonly Step[] _steps = new Step[Steps];
    private readonly Lock _gate = new();

    /// <summary>A hook has run on a place that had no lease meanwhile.</summary>
    public void Note(string name, long begun, long ended)
    {
        lock (_gate)
        {
            var last = ended / _length;
            for (var at = Math.Max(begun / _length, last - Steps + 1); at <= last; at++)
            {
                ref var step = ref _steps[at % Steps];
                if (step.Number > at)
                {
                    // Who was held up so long before he came here.
                    continue;
                }

                if (step.Number < at)
                {
                    step = new Step { Number = at };
                }

                step.Add(name, Math.Min(ended, (at + 1) * _length) - Math.Max(begun, at * _length));
            }
        }
    }

    /// <summary>The share that hooks had in the time of so many places, and the one that had most of it.</summary>
    /// <param name="within">Not longer ago than this, nor than two seconds.</param>
    /// <param name="running">Those that have not ended.</param>
    /// <param name="places">How many places there are.</param>
    public HookShare? Read(TimeSpan within, IEnumerable<HookCall> running, int places)
    {
        var now = clock.Exact;
        var first = Math.Max(Math.Max(0, (now / _length) - Steps + 1), (now - clock.After(0, within)) / _length);
        var since = first * _length;
        var sum = default(Step);
        lock (_gate)
        {
            foreach (var step in _steps)
            {
                if (step.Number >= first)
                {
                    sum.Rented += step.Rented;
                    sum.Returning += step.Returning;
                }
            }
        }

        foreach (var call in running)
        {
            if (call.KeepsPlace)
            {
                sum.Add(call.Name, Math.Max(0, now - Math.Max(call.BegunAt, since)));
            }
        }

        var share = (double)(sum.Rented + sum.Returning) / Math.Max(1, (now - since) * places);
        return share > 0
            ? new HookShare(
                sum.Rented >= sum.Returning ? nameof(ConnectionPoolOptions.LeaseRented) : nameof(ConnectionPoolOptions.LeaseReturning),
                Math.Min(1, share),
                clock.Provider.GetElapsedTime(since, now))
            : null;
    }

    private struct Step
    {
        public long Number;
        public long Rented;
        public long Returning;

        public void Add(string name, long time)
        {
            if (name == nameof(ConnectionPoolOptions.LeaseRented))
            {
                Rented += time;
            }
            else
            {
                Returning += time;
            }
        }
    }
}

/// <summary>How much of the places' time went into hooks.</summary>
/// <param name="Name">The hook that took most of it.</param>
/// <param name="Share">Of the time of all places, 1 for all of it.</param>
/// <param name="Over">The time that was looked at.</param>
internal readonly record struct HookShare(string Name, double Share, TimeSpan Over);
