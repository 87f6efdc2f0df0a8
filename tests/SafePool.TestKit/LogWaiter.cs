namespace SafePool.TestKit;

internal sealed class LogWaiter(Func<LogEntry, bool> predicate)
{
    private readonly TaskCompletionSource<LogEntry> _found = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public Task<LogEntry> Found => _found.Task;

    public void Offer(LogEntry entry)
    {
        try
        {
            if (predicate(entry))
            {
                _found.TrySetResult(entry);
            }
        }
#pragma warning disable CA1031 // A predicate that throws is the waiting test's fault, not the logging library's.
        catch (Exception fault)
#pragma warning restore CA1031
        {
            _found.TrySetException(fault);
        }
    }
}
