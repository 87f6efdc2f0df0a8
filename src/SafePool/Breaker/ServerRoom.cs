using SafePool.Admission;
using SafePool.Driver;
using SafePool.Leases;
using SafePool.Time;

namespace SafePool.Breaker;

/// <summary>How many connections the server has room for, as far as it has told by refusing one (53300, or whatever else it has answered).</summary>
/// <remarks>
/// A pool that has connections keeps serving from those, and tries for one more after a pause of one second. Only refusals that say that the server is full double it, up to half a minute: others may as well be
/// the last words of an outage, and then whoever waits must not wait for long after it. Any open that succeeds begins anew, for it is news of the server. Thread-safety: every member may be called from any thread.
/// </remarks>
internal sealed class ServerRoom(AdmissionGate gate, PoolClock clock)
{
    private static readonly TimeSpan _firstPause = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan _longestPause = TimeSpan.FromSeconds(30);

    private readonly Lock _gate = new();
    private int _had;
    private long _nextTry;
    private long _lastRefusal = long.MinValue;
    private TimeSpan _pause = _firstPause;
    private Exception? _refusal;

    /// <summary>What one more was refused with; null when nothing is known to be full.</summary>
    public Exception? Refusal => Volatile.Read(ref _refusal);

    /// <summary>Whether it has refused one, and the pool has not grown to its full size since.</summary>
    public bool IsFull => Refusal is not null;

    /// <summary>How long it takes until one more is tried; null when nothing is known to be full.</summary>
    public TimeSpan? RetryAfter
    {
        get
        {
            lock (_gate)
            {
                return !IsFull ? null
                    : gate.Limit > _had || _nextTry <= clock.Exact ? TimeSpan.Zero
                    : clock.Until(_nextTry);
            }
        }
    }

    /// <summary>The server has refused one more than these.</summary>
    /// <param name="refusal">In these words.</param>
    /// <param name="counts">What there is.</param>
    /// <param name="begunAt">When the open that was refused had begun: several at once are one refusal.</param>
    /// <returns>Whether that is news.</returns>
    public bool Refused(Exception refusal, GateCounts counts, long begunAt)
    {
        lock (_gate)
        {
            if (counts.Connections >= gate.Size)
            {
                // The pool has been made smaller since that open began.
                return false;
            }

            var isNews = !IsFull;
            Volatile.Write(ref _refusal, refusal);
            gate.Limit = _had = counts.Connections;
            if (begunAt <= _lastRefusal)
            {
                return false;
            }

            _lastRefusal = clock.Exact;
            var isSure = OpenFailures.SaysFull(refusal);
            _nextTry = clock.After(clock.Exact, isSure ? _pause : _firstPause);
            _pause = !isSure ? _firstPause : _pause * 2 < _longestPause ? _pause * 2 : _longestPause;
            return isNews;
        }
    }

    /// <summary>The server has granted one.</summary>
    /// <param name="connections">How many there are with it: if that is more than when it refused one, there may be room for yet more at once; if not, one that was lost has come back.</param>
    /// <returns>Whether the pool may be as large as it was made to be again.</returns>
    public bool Granted(int connections)
    {
        lock (_gate)
        {
            if (!IsFull)
            {
                return false;
            }

            if (connections >= gate.Size)
            {
                ForgetLocked();
                return true;
            }

            _pause = _firstPause;
            _nextTry = connections > _had ? clock.Exact : Math.Min(_nextTry, clock.After(clock.Exact, _pause));
            _had = Math.Max(_had, connections);
            return false;
        }
    }

    /// <summary>Somebody would like one more: lets one be tried if it is time.</summary>
    /// <remarks>One more than there are, which may be more than it was asked about: opens that had begun before it refused one can succeed afterwards.</remarks>
    public void TryForOneMore()
    {
        lock (_gate)
        {
            if (IsFull && clock.Exact >= _nextTry)
            {
                gate.Limit = Math.Max(_had, gate.Read().Connections) + 1;
                _nextTry = clock.After(clock.Exact, _pause);
            }
        }
    }

    /// <summary>The pool has another size: one no larger than what the server has room for has nothing left to ask for.</summary>
    public void Resized()
    {
        lock (_gate)
        {
            if (IsFull && gate.Size <= _had)
            {
                ForgetLocked();
            }
        }
    }

    /// <summary>Nothing is known any more.</summary>
    public void Forget()
    {
        lock (_gate)
        {
            ForgetLocked();
        }
    }

    private void ForgetLocked()
    {
        gate.Limit = gate.Size;
        Volatile.Write(ref _refusal, null);
        _pause = _firstPause;
    }
}
