using System.Collections.Concurrent;

namespace SafePool.TestKit;

/// <summary>A synchronization context with a single thread, as a user interface has: what is posted waits while that thread blocks.</summary>
internal sealed class OneThreadContext : SynchronizationContext, IDisposable
{
    private readonly BlockingCollection<(SendOrPostCallback Callback, object? State)> _posted = [];

    public OneThreadContext()
    {
        var thread = new Thread(Work) { IsBackground = true, Name = nameof(OneThreadContext) };
        thread.Start();
    }

    public override void Post(SendOrPostCallback d, object? state) => _posted.Add((d, state));

    public override SynchronizationContext CreateCopy() => this;

    /// <summary>Runs something on the thread.</summary>
    public Task RunAsync(Action work)
    {
        var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        Post(
            _ =>
            {
                try
                {
                    work();
                    done.SetResult();
                }
                catch (Exception error)
                {
                    done.SetException(error);
                }
            },
            null);
        return done.Task;
    }

    /// <summary>Ends the thread once it has nothing to do.</summary>
    public void Dispose() => _posted.CompleteAdding();

    private void Work()
    {
        SetSynchronizationContext(this);
        foreach (var (callback, state) in _posted.GetConsumingEnumerable())
        {
            callback(state);
        }
    }
}
