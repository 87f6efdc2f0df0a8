using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Threading.Tasks.Sources;
using System.Transactions;
using Microsoft.Extensions.ObjectPool;
using Npgsql;
using SafePool.Admission;
using SafePool.Driver;
using SafePool.Leases;
using SafePool.Reports;

namespace SafePool.Renting;

/// <summary>A rent that was not served at once: what was asked for, where it stands, and what its caller awaits. Re-used, so that waiting allocates nothing in the long run.</summary>
/// <remarks>
/// One object where there would be a state machine for each method on the way: what a rent touches is what a hand-over from one processor to another costs.
/// <para>
/// Like every <see cref="ValueTask{TResult}"/> it is to be awaited once. Who awaits it twice is told so and harms nobody, and who blocks on it (rule SFP0007) waits as long as it takes.
/// </para>
/// </remarks>
internal sealed class PendingRent : Waiter, IValueTaskSource<Lease>, IValueTaskSource<RentOutcome>
{
    // What the live version of the task is, until somebody takes what it brought.
    private const int Taken = -1;

    private static readonly ContextCallback _goOnAdmitted = static state => ((PendingRent)state!).GoOnAdmitted();
    private static readonly ContextCallback _goOnServed = static state => ((PendingRent)state!).GoOnServed();

    private readonly RentDesk _desk;
    private readonly Action _onServed;
    private ManualResetValueTaskSourceCore<bool> _end;
    private ConfiguredValueTaskAwaitable<bool>.ConfiguredValueTaskAwaiter _serving;
    private ExecutionContext? _context;
    private int _live = Taken;

    public PendingRent(RentDesk desk)
    {
        _desk = desk;
        _onServed = () => InContext(_goOnServed);
    }

    /// <summary>Where it stands in the source.</summary>
    public RentSite Site { get; private set; }

    /// <summary>What it does differently.</summary>
    public RentOptions? Options { get; private set; }

    /// <summary>The closed object of the caller's own that shall be opened, rather than a new one.</summary>
    public NpgsqlConnection? Onto { get; private set; }

    public CancellationToken CancellationToken { get; private set; }

    /// <summary>The transaction that it belongs to.</summary>
    public Transaction? Ambient { get; private set; }

    /// <summary>The calls that led to it, where they are wanted.</summary>
    public StackTrace? Calls { get; private set; }

    /// <summary>Its link in the flow that made it, where flows are followed.</summary>
    public RentFlow? Flow => Who as RentFlow;

    /// <summary>The hook of the same pool within which it was made.</summary>
    public HookCall? Hook { get; private set; }

    /// <summary>When it began, by the exact clock.</summary>
    public long Begun { get; private set; }

    /// <summary>How long it may take; zero: it does not wait for a lease.</summary>
    public TimeSpan Patience { get; private set; }

    /// <summary>It was admitted before, and its connection was gone: it was here before all others.</summary>
    public bool IsReturning { get; set; }

    /// <summary>What it ended with, unless it was refused or failed.</summary>
    public Lease Lease { get; set; }

    /// <summary>Why the pool said no.</summary>
    public Refusal? Refusal { get; set; }

    /// <summary>For a caller who catches refusals.</summary>
    public ValueTask<Lease> Task => new(this, _end.Version);

    /// <summary>For a caller who is told of them.</summary>
    public ValueTask<RentOutcome> Outcome => new(this, _end.Version);

    /// <summary>Notes what is asked for, and what can only be found out on the caller's own stack and in its own context.</summary>
    public void Ask(in RentSite site, RentOptions? options, NpgsqlConnection? onto, Transaction? ambient, StackTrace? calls, CancellationToken cancellationToken)
    {
        _live = _end.Version;
        (Site, Options, Onto, Ambient, Calls, CancellationToken) = (site, options, onto, ambient, calls, cancellationToken);
    }

    /// <summary>Its budget begins, in the context in which it will go on.</summary>
    public void Begin(PoolParts parts, bool blocking, object? who)
    {
        _context = blocking ? null : ExecutionContext.Capture();
        (Hook = parts.Hooks.Current)?.NoteRent(1);
        Begun = parts.Clock.Exact;
        Patience = Options?.AcquireTimeout ?? parts.Settings.AcquireTimeout;
        if (who is RentFlow flow)
        {
            flow.BegunAt = Begun;
        }

        Prepare(parts.Gate, blocking, parts.Clock.After(Begun, Patience), who);
    }

    /// <summary>Goes on when <paramref name="serving"/> has ended.</summary>
    public void Await(ValueTask<bool> serving)
    {
        // Not on the field: what it calls may be faster than it, and empties that.
        var awaiter = serving.ConfigureAwait(false).GetAwaiter();
        _serving = awaiter;
        awaiter.UnsafeOnCompleted(_onServed);
    }

    /// <summary>Tells the caller, who may go on inside this call: nothing may be done with it afterwards.</summary>
    /// <param name="error">What it failed with; null when there is a lease or a refusal.</param>
    public void End(Exception? error)
    {
        if (error is null)
        {
            _end.SetResult(true);
        }
        else
        {
            _end.SetException(error);
        }
    }

    /// <summary>Makes it ready for the next. Keeps nothing of the caller's alive.</summary>
    public void Reset()
    {
        Forget();
        Hook?.NoteRent(-1);
        Hook = null;
        (Site, Options, Onto, Ambient, Calls, CancellationToken) = (default, null, null, null, null, default);
        (Lease, Refusal, IsReturning, _context) = (default, null, false, null);
    }

    Lease IValueTaskSource<Lease>.GetResult(short token)
    {
        var (lease, refusal) = Take(token);
        return refusal is null ? lease : throw refusal.ToException();
    }

    RentOutcome IValueTaskSource<RentOutcome>.GetResult(short token)
    {
        var (lease, refusal) = Take(token);
        return refusal is null ? new RentOutcome(lease) : new RentOutcome(refusal);
    }

    ValueTaskSourceStatus IValueTaskSource<Lease>.GetStatus(short token)
        => _end.GetStatus(token) is var status && status == ValueTaskSourceStatus.Succeeded && Refusal is not null ? ValueTaskSourceStatus.Faulted : status;

    ValueTaskSourceStatus IValueTaskSource<RentOutcome>.GetStatus(short token) => _end.GetStatus(token);

    public void OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags)
        => _end.OnCompleted(continuation, state, token, flags);

    protected override void GoOn() => InContext(_goOnAdmitted);

    private void GoOnAdmitted()
    {
        WaitingRoom.Leave(this);
        _desk.GoOn(this, _desk.ServeAsync(this));
    }

    private void GoOnServed()
    {
        var serving = _serving;
        _serving = default;
        ValueTask<bool> served;
        try
        {
            served = new ValueTask<bool>(serving.GetResult());
        }
        catch (Exception error)
        {
            served = ValueTask.FromException<bool>(error);
        }

        _desk.GoOn(this, served);
    }

    private (Lease Lease, Refusal? Refusal) Take(short token)
    {
        if (_end.GetStatus(token) == ValueTaskSourceStatus.Pending)
        {
            Block(token);
        }

        if (Interlocked.CompareExchange(ref _live, Taken, token) != token)
        {
            throw new InvalidOperationException("A ValueTask may be awaited once.");
        }

        try
        {
            _end.GetResult(token);
            return (Lease, Refusal);
        }
        finally
        {
            _end.Reset();
            _desk.TakeBack(this);
        }
    }

    private void Block(short token)
    {
        using var ended = new ManualResetEventSlim();
        _end.OnCompleted(static ended => ((ManualResetEventSlim)ended!).Set(), ended, token, ValueTaskSourceOnCompletedFlags.None);
        ended.Wait();
    }

    /// <summary>In the caller's context: hooks and traces find there what the caller has put there.</summary>
    private void InContext(ContextCallback act)
    {
        if (_context is { } context)
        {
            ExecutionContext.Run(context, act, this);
        }
        else
        {
            act(this);
        }
    }
}
