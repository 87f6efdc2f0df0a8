using Microsoft.Extensions.Logging;

namespace SafePool.TestKit;

/// <summary>One line of log as it was written.</summary>
/// <param name="Category">The logger's name.</param>
/// <param name="Level">How much it matters.</param>
/// <param name="EventId">The number and name of the kind of event.</param>
/// <param name="Message">The formatted text.</param>
/// <param name="Exception">What was passed along, if anything.</param>
/// <param name="State">The named values of the message template.</param>
public sealed record LogEntry(
    string Category,
    LogLevel Level,
    EventId EventId,
    string Message,
    Exception? Exception,
    IReadOnlyDictionary<string, object?> State)
{
    /// <inheritdoc/>
    public override string ToString() => $"{Level} {Category}[{EventId.Id}]: {Message}";
}
