namespace SafePool.Admission;

/// <summary>One request that stands in the queue. Re-used by its owner: see <see cref="WaitingRoom"/>.</summary>
/// <remarks>
/// <para>Invariants: it is completed exactly once per stay, by whoever unlinked it from the queue under the gate's lock. It goes on exactly once per stay: when it has been completed
/// <em>and</em> the one who queued it has let go of it, whichever comes second.</para>
/// <para>An asynchronous caller goes on as a work item of the thread pool, never inside somebody else's return; on the local queue of the thread that completed it, because what it is going to use is in the cache of that
/// processor. A blocking one waits on an event of its own and needs no thread-pool thread to be served.</para>
/// </remarks>
internal abstract class Waiter : IThreadPoolWorkItem
{
    private ManualResetEventSlim? _signal;
    private int _isHalfway;
    private bool _isProlonged;

    // Links and membership belong to WaiterQueue and are guarded by the gate's lock.
    public Waiter? Next { get; set; }

    public Waiter? Previous { get; set; }

    public bool IsQueued { get; set; }

    public bool IsBlocking { get; private set; }

    /// <summary>Whatever the caller wants to recognise the request by when it asks who waits; nothing here looks at it.</summary>
    public object? Who { get; private set; }

    /// <summary>When the budget ends, as a timestamp of the pool's clock; <see cref="long.MaxValue"/> for never.</summary>
    public long Deadline { get; private set; }

    /// <summary>How the request ended.</summary>
    public AdmissionResult Admission { get; protected internal set; }

    /// <summary>It stood in the queue, if only once.</summary>
    public bool HasWaited { get; private set; }

    /// <summary>The gate at which it stands, for the callback of a cancelled token.</summary>
    public AdmissionGate Gate { get; private set; } = null!;

    // These belong to WaitingRoom.
    public ITimer? Timer { get; set; }

    public CancellationTokenRegistration Cancellation { get; set; }

    /// <summary>Whether the timer runs.</summary>
    public bool IsArmed { get; set; }

    public void Prepare(AdmissionGate gate, bool blocking, long deadline, object? who)
    {
        Gate = gate;
        Who = who;
        IsBlocking = blocking;
        Deadline = deadline;
        HasWaited = _isProlonged = false;
        if (blocking)
        {
            _signal ??= new ManualResetEventSlim(initialState: false, spinCount: 0);
        }
    }

    /// <summary>Moves the end of its budget, once. Under the gate's lock, while it is queued.</summary>
    public bool TryProlong(long until)
    {
        var isFirst = !_isProlonged;
        (_isProlonged, Deadline) = (true, isFirst ? until : Deadline);
        return isFirst;
    }

    /// <summary>A stay begins.</summary>
    public void Arrive()
    {
        _isHalfway = 0;
        if (IsBlocking)
        {
            _signal!.Reset();
        }
    }

    /// <summary>Forgets who waited, so that a waiter at rest keeps nothing of the caller's alive.</summary>
    public void Forget()
    {
        Who = null;
        Admission = default;
    }

    public void Complete(in AdmissionResult admission)
    {
        Admission = admission;
        HasWaited = true;
        if (IsBlocking)
        {
            _signal!.Set();
        }
        else if (Interlocked.Exchange(ref _isHalfway, 1) == 1)
        {
            ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: true);
        }
    }

    /// <summary>Called once it stands in the queue and the caller is done with it. True when it has been completed meanwhile: then it goes on here, and nowhere else.</summary>
    public bool LetGo() => Interlocked.Exchange(ref _isHalfway, 1) == 1;

    /// <summary>Blocks for at most <paramref name="patience"/> of real time; false when nothing happened in it.</summary>
    public bool Block(TimeSpan patience) => _signal!.Wait(patience);

    void IThreadPoolWorkItem.Execute() => GoOn();

    /// <summary>The request is out of the queue; <see cref="Admission"/> says how. Must not throw.</summary>
    protected abstract void GoOn();
}
