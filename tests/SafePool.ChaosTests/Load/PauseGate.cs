namespace SafePool.ChaosTests.Load;

/// <summary>Where workers stop between two requests while it is closed.</summary>
internal sealed class PauseGate
{
    private readonly Lock _gate = new();
    private TaskCompletionSource? _closed;

    public bool IsClosed
    {
        get
        {
            lock (_gate)
            {
                return _closed is not null;
            }
        }
    }

    public Task PassAsync()
    {
        lock (_gate)
        {
            return _closed?.Task ?? Task.CompletedTask;
        }
    }

    public void Close()
    {
        lock (_gate)
        {
            _closed ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        }
    }

    public void Open()
    {
        TaskCompletionSource? closed;
        lock (_gate)
        {
            (closed, _closed) = (_closed, null);
        }

        closed?.SetResult();
    }
}
