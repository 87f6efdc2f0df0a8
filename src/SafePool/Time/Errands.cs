namespace SafePool.Time;

/// <summary>Runs short pieces of work one after the other on a thread of its own, which exists only while there is some.</summary>
/// <remarks>
/// Not on the thread pool: all of its threads may be blocked by callers who wait for just this. Not on a thread for each: they come once a transaction.
/// </remarks>
internal sealed class Errands(string name)
{
    private static readonly TimeSpan _linger = TimeSpan.FromSeconds(1);

    // A queue to wait on, which Lock has not.
    private readonly Queue<Action> _queue = [];
    private bool _hasThread;

    /// <param name="work">Must not throw, nor wait for long.</param>
    public void Run(Action work)
    {
        lock (_queue)
        {
            _queue.Enqueue(work);
            if (_hasThread)
            {
                Monitor.Pulse(_queue);
                return;
            }

            _hasThread = true;
        }

        new Thread(Work) { IsBackground = true, Name = name }.UnsafeStart();
    }

    private void Work()
    {
        while (TryNext() is { } work)
        {
            work();
        }
    }

    private Action? TryNext()
    {
        lock (_queue)
        {
            if (_queue.Count == 0)
            {
                Monitor.Wait(_queue, _linger);
            }

            _hasThread = _queue.Count > 0;
            return _hasThread ? _queue.Dequeue() : null;
        }
    }
}
