using Microsoft.Extensions.Logging;

namespace SafePool.ChaosTests.Invariants;

/// <summary>The pool's log, of which only what must never be said is kept: errors, and alarms about leases that nobody leaked.</summary>
/// <param name="journal">Where it goes.</param>
/// <param name="losesLeases">Leaks are to be reported: what is reported is counted elsewhere.</param>
internal sealed class AlarmLog(Journal journal, bool losesLeases) : ILoggerFactory, ILogger
{
    private const int Leak = 100;

    public ILogger CreateLogger(string categoryName) => this;

    public void AddProvider(ILoggerProvider provider)
    {
        // Nobody else listens.
    }

    public void Dispose()
    {
        // Nothing is held.
    }

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull
        => null;

    public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Information;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        if (logLevel >= LogLevel.Error || (eventId.Id == Leak && !losesLeases))
        {
            journal.Violate($"logged {eventId.Id}: {formatter(state, exception)} {exception}");
        }
        else
        {
            journal.Count($"log event {eventId.Id} {eventId.Name}");
        }
    }
}
