using SafePool.Options;
using SafePool.Time;

namespace SafePool.Breaker;

/// <summary>Remembers how opens have fared of late, and so whether, when and how many may be tried (design decision D9).</summary>
/// <remarks>
/// <para>
/// Closed and well: as many opens at once as the pool allows. Closed and failing, or suspecting: one at a time, with pauses that grow by a quarter, up to twice the first. Open, after
/// <see cref="BreakerSettings.TripAfter"/> of failures: none for those who ask; one probe after each pause, which doubles. Whatever the state, the first success ends it all.
/// </para>
/// <para>
/// What opens it is evidence: an answer that was a no, or two opens in succession without one, and time in which the process ran. One
/// open that heard nothing proves little: a packet was lost, or a database wakes up.
/// </para>
/// <para>
/// Only failures that waiting can cure are told to it. Cancelled callers and short budgets do not come here: an open is the pool's own act and has a deadline of its own.
/// </para>
/// <para>
/// Thread-safety: every member may be called from any thread. <see cref="State"/> is one read; everything else happens under <c>_gate</c>, where nothing is called but the clock.
/// It owns no timer: whoever rents, and every tick of maintenance, asks whether something is due.
/// </para>
/// <para>Invariants: <c>State != Closed</c> only while failing; the pause is at least ProbeInterval and at most MaxProbeInterval, and shrinks only on success or Clear.</para>
/// </remarks>
internal sealed class CircuitBreaker(BreakerSettings settings, PoolClock clock)
{
    private const long Never = long.MaxValue;

    // So that many processes which lost the same server do not come back in step.
    private const double Jitter = 0.2;

    private readonly Lock _gate = new();
    private volatile CircuitState _state;
    private long _failingSince = Never;
    private long _lastFailure = long.MinValue;
    private long _notBefore = long.MinValue;
    private long _probingSince;
    private int _failures;
    private bool _wasRefused;
    private volatile BreakerSettings _settings = settings;
    private TimeSpan _pause = settings.ProbeInterval;
    private bool _isSuspicious;
    private TimeSpan _lastOutage;

    public bool IsEnabled => _settings.Enabled;

    public CircuitState State => _state;

    public bool IsOpen => _state != CircuitState.Closed;

    /// <summary>Whether the last open failed.</summary>
    public bool IsFailing => Volatile.Read(ref _failingSince) != Never;

    /// <summary>Whether nothing is known against the server.</summary>
    public bool IsWell => !IsFailing && !Volatile.Read(ref _isSuspicious);

    /// <summary>For how long no open has succeeded; while they do, how long the last outage was.</summary>
    public TimeSpan FailingFor
    {
        get
        {
            lock (_gate)
            {
                return _failingSince == Never ? _lastOutage : clock.Since(_failingSince);
            }
        }
    }

    /// <summary>How long it takes until the next attempt: before that a retry is in vain.</summary>
    public TimeSpan RetryAfter
    {
        get
        {
            lock (_gate)
            {
                // A probe that is under way may still fail, and the pause after it is not known yet.
                var due = _state == CircuitState.Probing ? clock.After(clock.Exact, _pause) : _notBefore;
                return due == long.MinValue || due <= clock.Exact ? TimeSpan.Zero : clock.Until(due);
            }
        }
    }

    /// <summary>Changes the rules. A pause that has begun ends as it would have; switched off, it forgets what it holds against the server.</summary>
    public void Apply(BreakerSettings settings)
    {
        lock (_gate)
        {
            _settings = settings;
            _pause = TimeSpan.FromTicks(Math.Clamp(_pause.Ticks, settings.ProbeInterval.Ticks, settings.MaxProbeInterval.Ticks));
        }

        if (!settings.Enabled)
        {
            Answered();
        }
    }

    /// <summary>How many opens may run at once now: <paramref name="healthy"/> while all is well, one while failing, none when it is too early.</summary>
    public int OpensAllowed(int healthy)
    {
        lock (_gate)
        {
            return _state != CircuitState.Closed || clock.Exact < _notBefore ? 0
                : _isSuspicious || _failingSince != Never ? 1
                : healthy;
        }
    }

    /// <summary>An open has failed in a way that waiting can cure.</summary>
    /// <param name="begunAt">When that open began.</param>
    /// <param name="isRefusal">Somebody answered, and it was a no; as opposed to silence.</param>
    /// <returns>Whether it is the first after one that succeeded.</returns>
    public bool Failed(long begunAt, bool isRefusal = true)
    {
        if (!_settings.Enabled)
        {
            return false;
        }

        lock (_gate)
        {
            var now = clock.Exact;
            var isFirst = _failingSince == Never;
            _failingSince = Math.Min(_failingSince, begunAt);
            _wasRefused |= isRefusal;
            if (_state == CircuitState.Probing && begunAt >= _probingSince)
            {
                // The probe, not an open that had begun before the circuit opened.
                _state = CircuitState.Open;
            }

            if (begunAt <= _lastFailure)
            {
                // It had begun when another one failed: the same failure once more, and no reason to wait longer.
                return isFirst;
            }

            _failures++;
            _lastFailure = now;
            _notBefore = clock.After(now, Shortened(_pause));
            _pause = Longer(_pause);
            AssertInvariantsLocked();
            return isFirst;
        }
    }

    /// <summary>The server has answered: a new connection is open, or was refused for a reason that waiting does not cure.</summary>
    /// <returns>Whether that has closed the circuit.</returns>
    public bool Answered()
    {
        lock (_gate)
        {
            var wasOpen = _state != CircuitState.Closed;
            _lastOutage = _failingSince == Never ? _lastOutage : clock.Since(_failingSince);
            _state = CircuitState.Closed;
            _failingSince = Never;
            _lastFailure = _notBefore = long.MinValue;
            _pause = _settings.ProbeInterval;
            _isSuspicious = _wasRefused = false;
            _failures = 0;
            return wasOpen;
        }
    }

    /// <summary>There are signs that the server has gone: the next open is on its own, until one has succeeded.</summary>
    public void Suspect()
    {
        if (_settings.Enabled)
        {
            lock (_gate)
            {
                _isSuspicious = true;
            }
        }
    }

    /// <summary>
    /// Closed → open, once there is evidence and failures have lasted for long enough; true for the one caller who is to tell those who
    /// wait.
    /// </summary>
    public bool TryTrip()
    {
        lock (_gate)
        {
            if (_state != CircuitState.Closed || !(_wasRefused || _failures > 1) || clock.RunningSince(_failingSince) < _settings.TripAfter)
            {
                return false;
            }

            _state = CircuitState.Open;
            return true;
        }
    }

    /// <summary>Open → probing, once the pause is over; true for the one caller who is to probe.</summary>
    public bool TryBeginProbe()
    {
        lock (_gate)
        {
            if (_state != CircuitState.Open || clock.Exact < _notBefore)
            {
                return false;
            }

            _state = CircuitState.Probing;
            _probingSince = clock.Exact;
            return true;
        }
    }

    /// <summary>Probing → open: there was no place to probe in.</summary>
    public void PutOffProbe()
    {
        lock (_gate)
        {
            if (_state == CircuitState.Probing)
            {
                _state = CircuitState.Open;
            }
        }
    }

    /// <summary>While callers wait it grows little: what they wait for is the next attempt.</summary>
    private TimeSpan Longer(TimeSpan pause)
    {
        var (longer, longest) = _state == CircuitState.Closed ? (pause * 1.25, _settings.ProbeInterval * 2) : (pause * 2, _settings.MaxProbeInterval);
        longest = longest < _settings.MaxProbeInterval ? longest : _settings.MaxProbeInterval;
        return longer < longest ? longer : longest;
    }

    private static TimeSpan Shortened(TimeSpan pause)
#pragma warning disable CA5394 // Spreads attempts; nothing is secret about it.
        => pause * (1 - (Jitter * Random.Shared.NextDouble()));
#pragma warning restore CA5394

    [System.Diagnostics.Conditional("DEBUG")]
    private void AssertInvariantsLocked()
    {
        System.Diagnostics.Debug.Assert(_gate.IsHeldByCurrentThread);
        System.Diagnostics.Debug.Assert(_state == CircuitState.Closed || _failingSince != Never, "open only while failing");
        System.Diagnostics.Debug.Assert(_pause >= _settings.ProbeInterval && _pause <= _settings.MaxProbeInterval, "the pause is within its bounds");
    }
}
