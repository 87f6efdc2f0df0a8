using System.Threading.Tasks.Sources;

namespace SafePool.Admission;

/// <summary>One request that stands in the queue. Re-used: see <see cref="WaitingRoom"/>.</summary>
/// <remarks>
/// <para>Invariant: it is completed exactly once per stay, by whoever unlinked it from the queue under the gate's lock.</para>
/// <para>An asynchronous caller is resumed on the thread pool, never inside somebody else's return. A blocking one waits on an event of
/// its own and needs no thread-pool thread to be served.</para>
/// </remarks>
internal sealed class Waiter : IValueTaskSource<AdmissionResult>
{
    private ManualResetValueTaskSourceCore<AdmissionResult> _result = new() { RunContinuationsAsynchronously = true };
    private ManualResetEventSlim? _signal;
    private AdmissionResult _admission;

    // Links and membership belong to WaiterQueue and are guarded by the gate's lock.
    public Waiter? Next { get; set; }

    public Waiter? Previous { get; set; }

    public bool IsQueued { get; set; }

    public bool IsBlocking { get; private set; }

    /// <summary>Whatever the caller wants to recognise the request by when it asks who waits; nothing here looks at it.</summary>
    public object? Who { get; private set; }

    /// <summary>When the budget ends, as a timestamp of the pool's clock; <see cref="long.MaxValue"/> for never.</summary>
    public long Deadline { get; private set; }

    /// <summary>Belongs to <see cref="WaitingRoom"/>, which arms it again for every stay.</summary>
    public ITimer? Timer { get; set; }

    /// <summary>The gate at which it stands, for the callback of a cancelled token.</summary>
    public AdmissionGate Gate { get; private set; } = null!;

    public ValueTask<AdmissionResult> Task => new(this, _result.Version);

    public void Prepare(AdmissionGate gate, bool blocking, long deadline, object? who)
    {
        Gate = gate;
        Who = who;
        IsBlocking = blocking;
        Deadline = deadline;
        if (blocking)
        {
            (_signal ??= new ManualResetEventSlim(initialState: false, spinCount: 0)).Reset();
        }
        else
        {
            _result.Reset();
        }
    }

    /// <summary>Forgets who waited, so that a waiter at rest keeps nothing of the caller's alive.</summary>
    public void Forget() => Who = null;

    public void Complete(AdmissionResult admission)
    {
        if (IsBlocking)
        {
            _admission = admission;
            _signal!.Set();
        }
        else
        {
            _result.SetResult(admission);
        }
    }

    /// <summary>Blocks for at most <paramref name="patience"/> of real time; false when nothing happened in it.</summary>
    public bool Block(TimeSpan patience, out AdmissionResult admission)
    {
        var completed = _signal!.Wait(patience);
        admission = completed ? _admission : default;
        return completed;
    }

    AdmissionResult IValueTaskSource<AdmissionResult>.GetResult(short token) => _result.GetResult(token);

    ValueTaskSourceStatus IValueTaskSource<AdmissionResult>.GetStatus(short token) => _result.GetStatus(token);

    void IValueTaskSource<AdmissionResult>.OnCompleted(
        Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags)
        => _result.OnCompleted(continuation, state, token, flags);
}
