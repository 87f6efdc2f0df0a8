using System.Data;
using Npgsql;
using SafePool.Driver.Control;

namespace SafePool.TestKit;

/// <content>The script: what a test tells it, and what it counted.</content>
internal sealed partial class ScriptedConnectionSource
{
    private readonly Queue<TaskCompletionSource> _heldOpens = new();
    private readonly Queue<ScriptedSession> _heldCloses = new();
    private readonly List<string> _executed = [];
    private Exception? _failNextClose;
    private Exception? _failNextRetire;
    private Action? _beforeNextOpen;
    private TaskCompletionSource? _watchEnd;
    private NpgsqlConnection? _watched;
    private int _holdCloses;
    private int _alive;
    private int _peakAlive;
    private int _connecting;
    private int _opening;
    private int _peakOpening;
    private int _opens;
    private int _opened;
    private int _closed;
    private int _cancels;
    private int _terminated;
    private int _closedWhileExecuting;
    private int _inspections;

    /// <summary>Gets or sets whether opens stay incomplete until <see cref="CompleteNextOpen"/> or <see cref="FailNextOpen"/>.</summary>
    public volatile bool HoldOpens;

    /// <summary>Gets or sets whether a running command ends when it is cancelled. Default: yes.</summary>
    public volatile bool CancelEndsCommands = true;

    /// <summary>Gets or sets whether every connection turns out to be dead when the pool says something over it.</summary>
    public volatile bool DieWhenAsked;

    /// <summary>Gets or sets whether <c>RetireAsync</c> fails to end a connection, which then comes to rest.</summary>
    public volatile bool RefusesToRetire;

    /// <summary>Gets or sets whether no pooler stands in between, so that a backend can be told to end. Default: yes.</summary>
    public volatile bool IsDirect = true;

    /// <summary>Gets or sets what every open fails with; null to let them succeed again.</summary>
    public Exception? FailOpensWith { get; set; }

    /// <summary>Gets or sets what every statement of the pool's own fails with.</summary>
    public Exception? FailExecutesWith { get; set; }

    /// <summary>Gets or sets what the server says about sessions when it is asked; null: it does not answer.</summary>
    public Dictionary<NpgsqlConnection, BackendActivity>? Backends { get; set; }

    /// <summary>Gets or sets what the server says about its room.</summary>
    public ServerCensus? Census { get; set; }

    /// <summary>Gets whether the pool listens for the server's going away.</summary>
    public bool IsWatched
    {
        get
        {
            lock (_gate)
            {
                return _watchEnd is { Task.IsCompleted: false };
            }
        }
    }

    /// <summary>Gets or sets what happens while a statement of the pool's own runs, and what its end waits for.</summary>
    public Func<Task>? DuringExecutes { get; set; }

    /// <summary>Gets or sets the hook of the options, which a source runs on every new connection.</summary>
    public Func<NpgsqlConnection, CancellationToken, ValueTask>? PhysicalConnectionOpened { get; set; }

    /// <summary>Gets how many physical connections exist.</summary>
    public int Alive => Read(ref _alive);

    /// <summary>Gets the most there ever were, those being opened included: each has a socket.</summary>
    public int PeakAlive => Read(ref _peakAlive);

    /// <summary>Gets how many opens were begun.</summary>
    public int Opens => Read(ref _opens);

    /// <summary>Gets how many opens ran at once at most.</summary>
    public int PeakConcurrentOpens => Read(ref _peakOpening);

    /// <summary>Gets how many physical connections have ended.</summary>
    public int Closed => Read(ref _closed);

    public int Cancels => Read(ref _cancels);

    /// <summary>Gets how often the server was asked what sessions do.</summary>
    public int Inspections => Read(ref _inspections);

    public int Terminated => Read(ref _terminated);

    /// <summary>Gets how often a connection was closed while a command ran on it, which must never happen.</summary>
    public int ClosedWhileExecuting => Read(ref _closedWhileExecuting);

    public int AtRest
    {
        get
        {
            lock (_gate)
            {
                return _resting.Count;
            }
        }
    }

    /// <summary>Gets the connections at rest, by number, on which a lease has left something that is still on the server.</summary>
    public IReadOnlyList<int> LitteredAtRest
    {
        get
        {
            lock (_gate)
            {
                return [.. _resting.Where(physical => physical.IsLittered).Select(physical => physical.Number)];
            }
        }
    }

    /// <summary>Gets how many opens wait for the test.</summary>
    public int PendingOpens
    {
        get
        {
            lock (_gate)
            {
                return _heldOpens.Count;
            }
        }
    }

    /// <summary>Gets the SQL that the pool ran on its own behalf, in order.</summary>
    public IReadOnlyList<string> Executed
    {
        get
        {
            lock (_gate)
            {
                return [.. _executed];
            }
        }
    }

    /// <summary>Waits until the pool's threads have begun this many opens that wait for the test.</summary>
    public Task PendingOpensReachAsync(int count)
        => Eventually.True(() => PendingOpens == count, $"{count} opens are pending (there are {PendingOpens})");

    /// <summary>Lets the open that was begun first succeed.</summary>
    public void CompleteNextOpen() => NextHeldOpen().SetResult();

    /// <summary>Lets the open that was begun first fail.</summary>
    public void FailNextOpen(Exception error) => NextHeldOpen().SetException(error);

    /// <summary>Lets something happen after the next open has read the generation and before it begins to connect.</summary>
    public void BeforeNextOpen(Action happening) => Volatile.Write(ref _beforeNextOpen, happening);

    /// <summary>Makes the next close throw, whoever closes. The connection stays open.</summary>
    public void FailNextCloseWith(Exception error) => Volatile.Write(ref _failNextClose, error);

    /// <summary>Makes the next close of one connection throw. It stays open.</summary>
    public void FailCloseOf(NpgsqlConnection connection, Exception error)
    {
        lock (_gate)
        {
            SessionOf(connection)!.CloseError = error;
        }
    }

    /// <summary>Makes the next retirement throw. The connection stays open.</summary>
    public void FailNextRetireWith(Exception error) => Volatile.Write(ref _failNextRetire, error);

    /// <summary>Makes the next close stay incomplete until <see cref="ReleaseClose"/>; a blocking one blocks.</summary>
    public void HoldNextClose()
    {
        lock (_gate)
        {
            _holdCloses++;
        }
    }

    /// <summary>Lets the close that was held first end.</summary>
    public void ReleaseClose()
    {
        ScriptedSession session;
        lock (_gate)
        {
            session = _heldCloses.Dequeue();
            CloseLocked(session);
        }

        session.HeldClose!.SetResult();
    }

    /// <summary>Puts a connection into a state, as a command, a reader, an outage or its user would.</summary>
    public void SetState(NpgsqlConnection connection, ConnectionState state)
    {
        lock (_gate)
        {
            var session = SessionOf(connection) ?? throw new InvalidOperationException("This connection is closed.");
            switch (state)
            {
                case ConnectionState.Closed:
                    CloseLocked(session);
                    break;
                case ConnectionState.Broken:
                    EndLocked(session.Physical);
                    session.State = ConnectionState.Broken;
                    break;
                default:
                    session.State = state | ConnectionState.Open;
                    break;
            }
        }
    }

    /// <summary>Runs a command of a lease, which leaves something behind that only a reset undoes.</summary>
    public void Litter(NpgsqlConnection connection)
    {
        lock (_gate)
        {
            var physical = SessionOf(connection)!.Physical;
            physical.SendReset();
            physical.IsLittered = true;
        }
    }

    /// <summary>Breaks a connection that is handed out.</summary>
    public void Break(NpgsqlConnection connection) => SetState(connection, ConnectionState.Broken);

    /// <summary>The server goes away, and whoever listens hears of it.</summary>
    public void LoseServer(Exception error)
    {
        LoseAtRest();
        TaskCompletionSource? end;
        lock (_gate)
        {
            end = _watchEnd is { Task.IsCompleted: false } ? _watchEnd : null;
        }

        if (end is not null)
        {
            Break(_watched!);
            end.TrySetException(error);
        }
    }

    /// <summary>Ends all that is at rest behind the pool's back.</summary>
    public void LoseAtRest()
    {
        lock (_gate)
        {
            LoseRestingLocked();
        }
    }

    /// <summary>Which physical connection is behind an object: its number in the order of opens, from 1.</summary>
    public int NumberOf(NpgsqlConnection connection)
    {
        lock (_gate)
        {
            return SessionOf(connection)?.Physical.Number ?? throw new InvalidOperationException("This connection is closed.");
        }
    }

    private int Read(ref int counter)
    {
        lock (_gate)
        {
            return counter;
        }
    }
}
