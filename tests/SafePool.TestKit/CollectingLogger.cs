using Microsoft.Extensions.Logging;

namespace SafePool.TestKit;

internal sealed class CollectingLogger(LogCollector owner, string category) : ILogger
{
    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull
        => null;

    public bool IsEnabled(LogLevel logLevel) => logLevel != LogLevel.None;

    public void Log<TState>(
        LogLevel logLevel,
        EventId eventId,
        TState state,
        Exception? exception,
        Func<TState, Exception?, string> formatter)
    {
        var values = new Dictionary<string, object?>(StringComparer.Ordinal);
        foreach (var (name, value) in state as IEnumerable<KeyValuePair<string, object?>> ?? [])
        {
            values[name] = value;
        }

        owner.Add(new LogEntry(category, logLevel, eventId, formatter(state, exception), exception, values));
    }
}
