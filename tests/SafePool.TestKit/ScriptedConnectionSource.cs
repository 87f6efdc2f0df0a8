using System.Data;
using System.Transactions;
using Npgsql;
using SafePool.Driver;
using SafePool.Driver.Control;
using SafePool.Time;

namespace SafePool.TestKit;

/// <summary>A source of connections without a network, which does what a test tells it and counts what the pool does.</summary>
/// <remarks>
/// <para>
/// It behaves as Npgsql does under SafePool: connections at rest are handed out oldest first, each time under a new object; one that is broken,
/// or was opened before a clear, ends when it is closed. The <see cref="NpgsqlConnection"/> objects are tokens: they are never opened.
/// </para>
/// <para>
/// Thread-safety: every member may be called from any thread. What waits for an open or a close goes on inside
/// <see cref="CompleteNextOpen"/>, <see cref="FailNextOpen"/> and <see cref="ReleaseClose"/>, on the test's own thread.
/// </para>
/// </remarks>
internal sealed partial class ScriptedConnectionSource(PhysicalConnections physicals) : IConnectionSource
{
    private readonly Lock _gate = new();
    private readonly Hooks _hooks = new(new PoolClock(TimeProvider.System));
    private readonly Dictionary<NpgsqlConnection, ScriptedSession> _sessions = [];
    private readonly Queue<ScriptedPhysical> _resting = new();
    private int _clears;
    private bool _disposed;

    /// <summary>Nothing of this is ever enlisted.</summary>
    public bool IsEnlisting => false;

    public bool TryBeginEnlisting() => false;

    public NpgsqlConnection? TryTakeWithin(Transaction transaction, PhysicalConnection? physical, NpgsqlConnection? onto, out bool isBroken)
    {
        isBroken = false;
        return null;
    }

    public NpgsqlConnection? TryTakeEnlisting()
    {
        lock (_gate)
        {
            return _resting.TryDequeue(out var physical) ? NewSessionLocked(physical) : null;
        }
    }

    public async ValueTask<OpenedConnection> OpenAsync(OpenAttempt attempt)
    {
        var (blocking, cancellationToken) = (attempt.IsBlocking, attempt.Token);
        var generation = physicals.Generation;
        if (TryTakeEnlisting() is { } rested)
        {
            return new OpenedConnection(rested, Identify(rested)!, IsNew: false);
        }

        Interlocked.Exchange(ref _beforeNextOpen, null)?.Invoke();
        var clears = BeginOpen(out var held);
        var connected = false;
        try
        {
            if (held is not null)
            {
                var registration = cancellationToken.UnsafeRegister(_ => Forget(held), null);
                await using var _ = registration.ConfigureAwait(false);
                await WaitAsync(held.Task, blocking).ConfigureAwait(false);
            }

            cancellationToken.ThrowIfCancellationRequested();
            var (connection, physical) = Connect(clears);
            connected = true;
            var known = physicals.Register(physical, generation, IsDirect);
            var isInTime = attempt.TryConnect(new OpenedConnection(connection, known, IsNew: true)) && attempt.TryEnterHook();
            var failure = !isInTime ? attempt.OutOfTime() : PhysicalConnectionOpened is { } hook
                ? await TryGreetAsync(hook, connection, blocking, cancellationToken).ConfigureAwait(false)
                : null;
            return new OpenedConnection(connection, known, IsNew: true, failure);
        }
        catch (TaskCanceledException)
        {
            throw new OperationCanceledException(cancellationToken);
        }
        finally
        {
            EndOpen(connected);
        }
    }

    public ValueTask KnockAsync(bool isDoubtful, bool blocking, CancellationToken cancellationToken) => ValueTask.CompletedTask;

    public PhysicalConnection? Identify(NpgsqlConnection connection)
    {
        lock (_gate)
        {
            return SessionOf(connection) is { } session && session.State.HasFlag(ConnectionState.Open)
                ? physicals.Find(session.Physical)
                : null;
        }
    }

    public ConnectionState StateOf(NpgsqlConnection connection)
    {
        lock (_gate)
        {
            return SessionOf(connection)?.State ?? ConnectionState.Closed;
        }
    }

    public void Close(NpgsqlConnection connection) => CloseAsync(connection).GetAwaiter().GetResult();

    public Task CloseAsync(NpgsqlConnection connection)
    {
        lock (_gate)
        {
            if (SessionOf(connection) is not { HeldClose: null } session)
            {
                return SessionOf(connection)?.HeldClose?.Task ?? Task.CompletedTask;
            }

            if (session.State.HasFlag(ConnectionState.Executing))
            {
                _closedWhileExecuting++;
                return Task.FromException(
                    new InvalidOperationException("Closed while a command runs: Npgsql would lose this connection for good."));
            }

            if (TakeCloseErrorLocked(session) is { } error)
            {
                return Task.FromException(error);
            }

            if (_holdCloses > 0)
            {
                _holdCloses--;
                session.HeldClose = new TaskCompletionSource();
                _heldCloses.Enqueue(session);
                return session.HeldClose.Task;
            }

            CloseLocked(session);
            return Task.CompletedTask;
        }
    }

    public Task<bool> RetireAsync(NpgsqlConnection connection)
    {
        lock (_gate)
        {
            if (SessionOf(connection) is not { } session)
            {
                return Task.FromResult(true);
            }

            if (Interlocked.Exchange(ref _failNextRetire, null) is { } error)
            {
                return Task.FromException<bool>(error);
            }

            if (!RefusesToRetire)
            {
                EndLocked(session.Physical);
            }

            CloseLocked(session);
            return Task.FromResult(session.Physical.IsGone);
        }
    }

    public async ValueTask ExecuteAsync(NpgsqlConnection connection, string sql, bool blocking)
    {
        lock (_gate)
        {
            _executed.Add(sql);
        }

        if (DuringExecutes?.Invoke() is { } happening)
        {
            await WaitAsync(happening, blocking);
        }

        if (DieWhenAsked)
        {
            SetState(connection, ConnectionState.Broken);
            throw new NpgsqlException("dead", new IOException());
        }

        if (FailExecutesWith is { } error)
        {
            throw error;
        }

        lock (_gate)
        {
            SessionOf(connection)?.Physical.SendReset();
        }
    }

    public async Task<bool> DiscardAllAsync(NpgsqlConnection connection)
    {
        await ExecuteAsync(connection, "DISCARD ALL", blocking: false);
        return false;
    }

    public ValueTask ResetAsync(NpgsqlConnection connection, bool blocking) => ExecuteAsync(connection, "RESET ALL", blocking);

    public ValueTask UnprepareAllAsync(NpgsqlConnection connection, bool blocking) => ExecuteAsync(connection, "DEALLOCATE ALL", blocking);

    public ValueTask CancelAsync(NpgsqlConnection connection, bool blocking)
    {
        lock (_gate)
        {
            _cancels++;
            if (CancelEndsCommands && SessionOf(connection) is { } session && session.State.HasFlag(ConnectionState.Open))
            {
                session.State = ConnectionState.Open;
            }
        }

        return ValueTask.CompletedTask;
    }

    public Task<SignalOutcome> TerminateAsync(NpgsqlConnection connection)
    {
        lock (_gate)
        {
            _terminated++;
            return Task.FromResult(IsDirect ? SignalOutcome.Signalled : SignalOutcome.NotProvable);
        }
    }

    public Task<IReadOnlyDictionary<NpgsqlConnection, BackendActivity>?> InspectAsync(IReadOnlyCollection<NpgsqlConnection> connections)
    {
        lock (_gate)
        {
            _inspections++;
            return Task.FromResult<IReadOnlyDictionary<NpgsqlConnection, BackendActivity>?>(
                Backends is { } backends ? connections.Where(backends.ContainsKey).ToDictionary(connection => connection, connection => backends[connection]) : null);
        }
    }

    public Task<ServerCensus?> TakeCensusAsync() => Task.FromResult(Census);

    public string? ApplicationName => null;

    public Task<T> AskServerAsync<T>(Func<ControlSession, CancellationToken, Task<T>> act, CancellationToken cancellationToken)
        => throw new NotSupportedException("There is no server to ask.");

    public OwnSessions FindSessions() => new([]);

    public async Task WatchAsync(NpgsqlConnection connection, CancellationToken cancellationToken)
    {
        var end = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (_gate)
        {
            (_watchEnd, _watched) = (end, connection);
        }

        var registration = cancellationToken.UnsafeRegister(_ => end.TrySetCanceled(cancellationToken), null);
        await using var registered = registration.ConfigureAwait(false);
        await end.Task.ConfigureAwait(false);
    }

    public void Clear(bool renews = false)
    {
        lock (_gate)
        {
            _clears++;
            LoseRestingLocked();
        }
    }

    public void Dispose()
    {
        lock (_gate)
        {
            _disposed = true;
            LoseRestingLocked();
        }
    }

    public ValueTask DisposeAsync()
    {
        Dispose();
        return ValueTask.CompletedTask;
    }

    private static Task WaitAsync(Task held, bool blocking)
    {
        if (blocking)
        {
            held.GetAwaiter().GetResult();
        }

        return held;
    }

    private async ValueTask<Exception?> TryGreetAsync(
        Func<NpgsqlConnection, CancellationToken, ValueTask> hook, NpgsqlConnection connection, bool blocking, CancellationToken cancellationToken)
    {
        try
        {
            await _hooks.RunAsync(hook, nameof(PhysicalConnectionOpened), connection, blocking, cancellationToken).ConfigureAwait(false);
            return null;
        }
        catch (Exception error)
        {
            return error;
        }
    }
}
