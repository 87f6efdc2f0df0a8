using Npgsql;
using SafePool.Options;
using SafePool.Reports;
using SafePool.Time;

namespace SafePool.Driver;

/// <summary>
/// One attempt to open a connection: over for the pool when it ends, or when it has not ended in time, whatever the user's code in it
/// does.
/// </summary>
/// <remarks>
/// <para>
/// After <see cref="PoolSettings.ConnectTimeout"/> its token is cancelled. Npgsql ends then; what has not ended <see cref="Grace"/>
/// later is code of the user's that does not heed the token, and the attempt is given up. Who blocks cannot be
/// cancelled: Npgsql's own timeout, in whole seconds, takes the place of the token. Time in which the process stood still does not count.
/// </para>
/// <para>
/// Its state moves by compare-and-swap, so exactly one of two settles its place: who runs it, by <see cref="TryEnd"/>, or who watches
/// it, by giving it up. From <see cref="OpenState.Greeting"/> on who gives it up has the connection in hand,
/// and whoever runs it does not touch it any more.
/// </para>
/// </remarks>
internal sealed class OpenAttempt : IDisposable
{
    /// <summary>What Npgsql has to end in after its token was cancelled.</summary>
    public static readonly TimeSpan Grace = TimeSpan.FromMilliseconds(250);

    // Finer than timers are.
    private static readonly TimeSpan _fraction = TimeSpan.FromMilliseconds(1);

    private readonly PoolSettings _settings;
    private readonly PoolClock _clock;
    private readonly Action<OpenAttempt> _onGivenUp;
    private readonly CancellationToken _closing;
    private readonly CancellationTokenSource _cancellation;
    private readonly TaskCompletionSource<Exception?> _outcome = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly ManualResetEventSlim _ended = new();
    private readonly long _begunAt;
    private ITimer? _timer;
    private CancellationTokenRegistration _onClosing;
    private OpenedConnection _connected;
    private OpenState _leftIn;
    private DriverPool? _driver;
    private DriverPool? _lostTo;
    private volatile bool _isOutOfTime;
    private int _state;

    public OpenAttempt(
        PoolSettings settings, PoolClock clock, int place, bool isBlocking, Action<OpenAttempt> onGivenUp, CancellationToken closing)
    {
        (_settings, _clock, Place, IsBlocking, _onGivenUp, _closing) = (settings, clock, place, isBlocking, onGivenUp, closing);
        _begunAt = clock.Exact;
        _cancellation = CancellationTokenSource.CreateLinkedTokenSource(closing);
        HookToken = _cancellation.Token;
        Token = isBlocking ? CancellationToken.None : _cancellation.Token;
    }

    public int Place { get; }

    /// <summary>On a thread that may block, and without one of the thread pool.</summary>
    public bool IsBlocking { get; }

    /// <summary>Cancelled when its time is over, or the pool closes. Never, for who blocks.</summary>
    public CancellationToken Token { get; }

    /// <summary>The same for the user's hook, which can heed it also on behalf of who blocks.</summary>
    public CancellationToken HookToken { get; }

    /// <summary>What it failed with; null when it succeeded.</summary>
    public Task<Exception?> Outcome => _outcome.Task;

    /// <summary>The data source with which it connects now; null before.</summary>
    public DriverPool? Driver
    {
        get => Volatile.Read(ref _driver);
        set => Volatile.Write(ref _driver, value);
    }

    /// <summary>What whoever gave it up has in hand; null when it was not connected yet.</summary>
    public OpenedConnection? InHand => State == OpenState.GivenUp && _leftIn != OpenState.Connecting ? _connected : null;

    private OpenState State => (OpenState)Volatile.Read(ref _state);

    /// <summary>Begins to watch it, on a timer, or for who blocks on a thread, because those of the pool may all be blocked.</summary>
    public void Watch()
    {
        if (IsBlocking)
        {
            _ = OwnThread.RunAsync(WatchBlocking);
            return;
        }

        using (ExecutionContext.SuppressFlow())
        {
            var never = Timeout.InfiniteTimeSpan;
            _timer = _clock.Provider.CreateTimer(static state => ((OpenAttempt)state!).OnDue(), this, never, never);
        }

        _timer.Change(_settings.ConnectTimeout, Timeout.InfiniteTimeSpan);
        _onClosing = _closing.UnsafeRegister(static state => ((OpenAttempt)state!)._timer!.Change(Grace, Timeout.InfiniteTimeSpan), this);
    }

    /// <summary>It is connected. False when it was given up: then the caller ends the connection.</summary>
    public bool TryConnect(in OpenedConnection connected)
    {
        _connected = connected;
        return TryMove(OpenState.Connecting, OpenState.Greeting);
    }

    /// <summary>What it was connected to is of no use, and it connects again. False when it was given up.</summary>
    public bool TryReconnect() => TryMove(OpenState.Greeting, OpenState.Connecting);

    /// <summary>The user's hook is next. False when it was given up.</summary>
    public bool TryEnterHook() => TryMove(OpenState.Greeting, OpenState.InHook);

    public void ThrowIfGivenUp()
    {
        if (State == OpenState.GivenUp)
        {
            throw new OperationCanceledException("The attempt to connect was given up.");
        }
    }

    /// <summary>It has ended by itself. False when it was given up before.</summary>
    public bool TryEnd() => TryLeave(OpenState.Done);

    /// <summary>It was given up before it was connected, and has ended now, with all that it brought: Npgsql does not count it any more.</summary>
    public void NoteEndedLate() => _lostTo?.NoteLost(-1);

    /// <summary>Says what became of it to whoever waits for that.</summary>
    public void Tell(Exception? error) => _outcome.TrySetResult(error);

    /// <summary>What the pool says of a failure: Npgsql does not know why its token was cancelled.</summary>
    public Exception Explain(Exception error)
        => error is OperationCanceledException && _isOutOfTime && !_closing.IsCancellationRequested ? OutOfTime() : error;

    /// <summary>That it was given up, and which callback hangs.</summary>
    public NpgsqlException OutOfTime()
    {
        var hanging = State == OpenState.GivenUp ? NameHanging() : IsInHook ? " The hook PhysicalConnectionOpened had not ended." : "";
        var bound = Sentences.Duration(_settings.ConnectTimeout);
        return new NpgsqlException($"No connection was open within ConnectTimeout ({bound}).{hanging}", IsInHook ? new HookTimeoutException() : new TimeoutException());
    }

    /// <summary>Whoever ran it has come to its end, in time or not.</summary>
    public void Dispose()
    {
        _ended.Set();
        _onClosing.Dispose();
        _timer?.Dispose();
        _cancellation.Dispose();
    }

    private bool IsInHook => _leftIn == OpenState.InHook;

    private string NameHanging() => _leftIn switch
    {
        OpenState.InHook => " The hook PhysicalConnectionOpened hangs: it has not ended, and does not heed its token.",
        OpenState.Connecting when _settings.ConfigureDataSource is not null
            => " A callback that ConfigureDataSource has set hangs (a password provider, a check of certificates, an initializer)"
                + ", or the server is silent: what was begun has not ended.",
        _ => " What Npgsql does for it has not ended either.",
    };

    private void OnDue()
    {
        if (_isOutOfTime || _closing.IsCancellationRequested)
        {
            GiveUp();
            return;
        }

        var left = _settings.ConnectTimeout - _clock.RunningSince(_begunAt);
        if (left > _fraction)
        {
            _timer!.Change(left, Timeout.InfiniteTimeSpan);
            return;
        }

        _timer!.Change(Grace, Timeout.InfiniteTimeSpan);
        Cancel();
    }

    private void WatchBlocking()
    {
        if (EndsWithin(_settings.ConnectTimeout))
        {
            return;
        }

        // On the thread pool, because what has registered with the token is the user's, and may hang as well.
        ThreadPool.UnsafeQueueUserWorkItem(static attempt => attempt.Cancel(), this, preferLocal: false);
        if (!EndsWithin(TimeSpan.FromSeconds(Math.Ceiling(_settings.ConnectTimeout.TotalSeconds)) + Grace))
        {
            GiveUp();
        }
    }

    private bool EndsWithin(TimeSpan bound)
    {
        for (var left = bound - _clock.RunningSince(_begunAt); left > _fraction; left = bound - _clock.RunningSince(_begunAt))
        {
            if (_ended.Wait(left))
            {
                return true;
            }
        }

        return false;
    }

    private void Cancel()
    {
        _isOutOfTime = true;
        try
        {
            _cancellation.Cancel();
        }
        catch (ObjectDisposedException)
        {
            // It has ended in this moment.
        }
    }

    private void GiveUp()
    {
        if (State >= OpenState.Done)
        {
            return;
        }

        // Before anybody can see it end.
        _lostTo = Driver;
        _lostTo?.NoteLost(1);
        var isLost = TryLeave(OpenState.GivenUp);
        if (!isLost || InHand is not null)
        {
            _lostTo?.NoteLost(-1);
        }

        if (isLost)
        {
            _onGivenUp(this);
        }
    }

    private bool TryLeave(OpenState next)
    {
        while (State is var seen and < OpenState.Done)
        {
            _leftIn = seen;
            if (TryMove(seen, next))
            {
                return true;
            }
        }

        return false;
    }

    private bool TryMove(OpenState from, OpenState to) => Interlocked.CompareExchange(ref _state, (int)to, (int)from) == (int)from;
}
