using Microsoft.Extensions.Logging;

namespace SafePool.TestKit;

/// <summary>A log that holds up the first thread that writes a certain line, in the very middle of what it does, until it is let go.</summary>
public sealed class HoldingLog(string line) : ILoggerFactory, ILogger
{
    private readonly TaskCompletionSource _reached = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly ManualResetEventSlim _letGo = new();

    /// <summary>Gets a task that ends once somebody writes the line.</summary>
    public Task Reached => _reached.Task;

    public void LetGo() => _letGo.Set();

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        ArgumentNullException.ThrowIfNull(formatter);
        if (!_letGo.IsSet && formatter(state, exception).Contains(line, StringComparison.Ordinal))
        {
            _reached.TrySetResult();
            _letGo.Wait();
        }
    }

    public ILogger CreateLogger(string categoryName) => this;

    public bool IsEnabled(LogLevel logLevel) => true;

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull
        => null;

    public void AddProvider(ILoggerProvider provider) => throw new NotSupportedException();

    public void Dispose()
    {
        _letGo.Set();
        _letGo.Dispose();
    }
}
