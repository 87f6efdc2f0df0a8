using Microsoft.Extensions.Logging;

namespace SafePool.TestKit;

/// <summary>A logger factory that keeps what is logged, for a test to read and to wait for.</summary>
/// <remarks>Thread-safety: every member may be called from any thread; predicates run outside the lock.</remarks>
public sealed class LogCollector : ILoggerFactory
{
    private readonly Lock _gate = new();
    private readonly List<LogEntry> _entries = [];
    private readonly List<LogWaiter> _waiters = [];
    private volatile bool _throwOnLog;

    /// <summary>Gets or sets whether writing a line throws, as a broken log sink would. The line is kept all the same.</summary>
    public bool ThrowOnLog
    {
        get => _throwOnLog;
        set => _throwOnLog = value;
    }

    /// <summary>Gets a copy of what was logged so far, oldest first.</summary>
    public IReadOnlyList<LogEntry> Entries
    {
        get
        {
            lock (_gate)
            {
                return [.. _entries];
            }
        }
    }

    /// <summary>Waits for a line, also one that was written before this call.</summary>
    /// <param name="predicate">Tells the line from others.</param>
    /// <param name="timeout">How long in real time. Default: 10 seconds.</param>
    /// <exception cref="TimeoutException">No such line came; the message lists those that did.</exception>
    public async Task<LogEntry> WaitForAsync(Func<LogEntry, bool> predicate, TimeSpan? timeout = null)
    {
        ArgumentNullException.ThrowIfNull(predicate);

        var waiter = new LogWaiter(predicate);
        foreach (var entry in Register(waiter))
        {
            waiter.Offer(entry);
        }

        try
        {
            return await waiter.Found.WaitAsync(timeout ?? TimeSpan.FromSeconds(10));
        }
        catch (TimeoutException inner)
        {
            var seen = string.Join(Environment.NewLine, Entries);
            throw new TimeoutException($"The line waited for was not logged. Logged were:{Environment.NewLine}{seen}", inner);
        }
        finally
        {
            Unregister(waiter);
        }
    }

    /// <inheritdoc/>
    public ILogger CreateLogger(string categoryName) => new CollectingLogger(this, categoryName);

    /// <inheritdoc/>
    public void AddProvider(ILoggerProvider provider)
        => throw new NotSupportedException("A log collector writes to nobody else.");

    /// <summary>Does nothing: what was collected stays readable.</summary>
    public void Dispose()
    {
    }

    internal void Add(LogEntry entry)
    {
        LogWaiter[] waiters;
        lock (_gate)
        {
            _entries.Add(entry);
            waiters = [.. _waiters];
        }

        foreach (var waiter in waiters)
        {
            waiter.Offer(entry);
        }

        if (_throwOnLog)
        {
            throw new InvalidOperationException("This logger was told to throw.");
        }
    }

    // In one step: an entry is either in the copy returned here or offered to the waiter by Add.
    private LogEntry[] Register(LogWaiter waiter)
    {
        lock (_gate)
        {
            _waiters.Add(waiter);
            return [.. _entries];
        }
    }

    private void Unregister(LogWaiter waiter)
    {
        lock (_gate)
        {
            _waiters.Remove(waiter);
        }
    }
}
