using Microsoft.Extensions.Logging;
using SafePool.Leases;
using SafePool.Logging;
using SafePool.Reports;
using SafePool.Time;

namespace SafePool.Diagnostics;

/// <summary>Says once what a thousand callers are told: that the pool ran out, who holds it, and what led to it.</summary>
/// <remarks>
/// An episode begins with the first rent that fails because the pool is exhausted, and ends when nobody has waited for <see cref="_calm"/>. Its first failure logs the
/// message, all holders and the flight recorder; while it lasts that is repeated once a minute; its end says how many failed.
/// </remarks>
internal sealed class ExhaustionEpisode(string poolName, ILogger logger, PoolClock clock, FlightRecorder recorder)
{
    private static readonly TimeSpan _calm = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan _repeat = TimeSpan.FromMinutes(1);

    private readonly Lock _gate = new();
    private bool _isOn;
    private long _begunAt;
    private long _saidAt;
    private long _busyAt;
    private long _failed;

    /// <summary>A rent has failed.</summary>
    public void Note(Refusal refusal)
    {
        if (IsNews())
        {
            var error = refusal.ToException();
            var holders = string.Concat(error.Snapshot.Holders.Select(holder => $"{Environment.NewLine}   {holder}: {LeakSentences.Doing(holder)}"));
            Log.Exhausted(logger, error.Message, holders);
            if (logger.IsEnabled(LogLevel.Information))
            {
                Log.Flight(logger, poolName, Environment.NewLine, recorder.Dump());
            }
        }
    }

    /// <summary>One look by the maintenance loop.</summary>
    public void Check(int waiting)
    {
        long failed;
        double seconds;
        lock (_gate)
        {
            if (!_isOn)
            {
                return;
            }

            if (waiting > 0)
            {
                _busyAt = clock.Exact;
                return;
            }

            if (clock.Since(_busyAt) < _calm)
            {
                return;
            }

            _isOn = false;
            (failed, _failed) = (_failed, 0);
            seconds = clock.Since(_begunAt).TotalSeconds;
        }

        Log.ExhaustionEnded(logger, poolName, failed, seconds);
    }

    private bool IsNews()
    {
        lock (_gate)
        {
            var now = clock.Exact;
            _failed++;
            _busyAt = now;
            if (_isOn && clock.Since(_saidAt) < _repeat)
            {
                return false;
            }

            _begunAt = _isOn ? _begunAt : now;
            _saidAt = now;
            _isOn = true;
            return true;
        }
    }
}
