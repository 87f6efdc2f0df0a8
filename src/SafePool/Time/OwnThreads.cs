using System.Diagnostics;

namespace SafePool.Time;

/// <summary>Gives whatever is to be done a thread at once, as many as there is to do; threads that are through wait for more for a while.</summary>
/// <remarks>
/// <para>To start a thread takes a tenth of a millisecond, which <see cref="SessionReset.Strict"/> would pay at every return.</para>
/// <para>Invariants: a worker is among the parked only while it has nothing to do; who takes it out, under the lock, gives it something; it ends only after taking itself out.</para>
/// </remarks>
/// <param name="keepFor">How long a thread waits for more, in real time.</param>
internal sealed class OwnThreads(TimeSpan keepFor)
{
    private readonly Lock _gate = new();

    // The last is the one that ran last, and whose stack is warm.
    private readonly List<Worker> _parked = [];

    private TimeSpan KeepFor => keepFor;

    /// <param name="work">Must not throw.</param>
    public void Run(Action work)
    {
        Worker? parked = null;
        lock (_gate)
        {
            if (_parked.Count > 0)
            {
                parked = _parked[^1];
                _parked.RemoveAt(_parked.Count - 1);
            }
        }

        if (parked is null)
        {
            new Worker(this).Start(work);
        }
        else
        {
            parked.Give(work);
        }
    }

    private void Park(Worker worker)
    {
        lock (_gate)
        {
            _parked.Add(worker);
        }
    }

    private bool TryUnpark(Worker worker)
    {
        lock (_gate)
        {
            return _parked.Remove(worker);
        }
    }

    private sealed class Worker(OwnThreads owner) : IDisposable
    {
        private readonly ManualResetEventSlim _given = new(initialState: false, spinCount: 0);
        private Action? _work;

        public void Start(Action first)
        {
            _work = first;

            // Unsafe: the flow of whoever needed it first is nobody's business.
            new Thread(Run) { IsBackground = true, Name = "SafePool words with the server" }.UnsafeStart();
        }

        public void Give(Action work)
        {
            Debug.Assert(_work is null, "Only one who has taken it out of the parked gives it something.");
            _work = work;
            _given.Set();
        }

        public void Dispose() => _given.Dispose();

        private void Run()
        {
            while (true)
            {
                // Holds on to nothing while it is parked.
                Interlocked.Exchange(ref _work, null)!();
                owner.Park(this);
                if (!_given.Wait(owner.KeepFor) && owner.TryUnpark(this))
                {
                    Dispose();
                    return;
                }

                // Given, if only in the moment in which it lost patience.
                _given.Wait();
                _given.Reset();
            }
        }
    }
}
