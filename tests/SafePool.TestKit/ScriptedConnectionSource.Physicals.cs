using Npgsql;

namespace SafePool.TestKit;

/// <content>The pretended physical connections: their opens, their rest and their end.</content>
internal sealed partial class ScriptedConnectionSource
{
    private Exception? TakeCloseErrorLocked(ScriptedSession session)
    {
        var own = session.CloseError;
        session.CloseError = null;
        return own ?? Interlocked.Exchange(ref _failNextClose, null);
    }

    private int BeginOpen(out TaskCompletionSource? held)
    {
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            _opens++;
            _peakOpening = Math.Max(_peakOpening, ++_opening);
            _peakAlive = Math.Max(_peakAlive, _alive + ++_connecting);
            held = null;
            if (FailOpensWith is { } error)
            {
                held = new TaskCompletionSource();
                held.SetException(error);
            }
            else if (HoldOpens)
            {
                held = new TaskCompletionSource();
                _heldOpens.Enqueue(held);
            }

            return _clears;
        }
    }

    private void EndOpen(bool connected)
    {
        lock (_gate)
        {
            _opening--;
            _connecting -= connected ? 0 : 1;
        }
    }

    private TaskCompletionSource NextHeldOpen()
    {
        lock (_gate)
        {
            return _heldOpens.Dequeue();
        }
    }

    // A cancelled open: it leaves the queue wherever it stands, and ends outside the lock.
    private void Forget(TaskCompletionSource open)
    {
        lock (_gate)
        {
            var others = _heldOpens.Where(other => other != open).ToArray();
            _heldOpens.Clear();
            foreach (var other in others)
            {
                _heldOpens.Enqueue(other);
            }
        }

        open.TrySetCanceled();
    }

    private (NpgsqlConnection Connection, ScriptedPhysical Physical) Connect(int clears)
    {
        lock (_gate)
        {
            var physical = new ScriptedPhysical(++_opened, clears);
            _connecting--;
            _alive++;
            return (NewSessionLocked(physical), physical);
        }
    }

    private NpgsqlConnection NewSessionLocked(ScriptedPhysical physical)
    {
        var connection = new NpgsqlConnection();
        _sessions.Add(connection, new ScriptedSession(connection, physical));
        return connection;
    }

    // Closed ones are forgotten.
    private ScriptedSession? SessionOf(NpgsqlConnection connection) => _sessions.GetValueOrDefault(connection);

    private void CloseLocked(ScriptedSession session)
    {
        _sessions.Remove(session.Connection);
        if (session.Physical.IsGone)
        {
            return;
        }

        if (_disposed || session.Physical.Clears != _clears)
        {
            EndLocked(session.Physical);
        }
        else
        {
            session.Physical.ResetTravels = true;
            _resting.Enqueue(session.Physical);
        }
    }

    private void EndLocked(ScriptedPhysical physical)
    {
        if (!physical.IsGone)
        {
            physical.IsGone = true;
            _alive--;
            _closed++;
        }
    }

    private void LoseRestingLocked()
    {
        while (_resting.TryDequeue(out var physical))
        {
            EndLocked(physical);
        }
    }
}
