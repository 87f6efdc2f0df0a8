using System.Collections.Immutable;
using System.Globalization;
using SafePool.Reports;

namespace SafePool;

/// <summary>What <see cref="IConnectionPool.TerminateIdleSessionsAsync"/> found and did.</summary>
public sealed record TerminationReport
{
    /// <summary>Gets the application whose sessions were looked at, as the server writes it: the first 63 bytes, in ASCII.</summary>
    public required string ApplicationName { get; init; }

    /// <summary>Gets for how long a session had to be idle.</summary>
    public required TimeSpan OlderThan { get; init; }

    /// <summary>Gets whether nothing was done.</summary>
    public required bool IsDryRun { get; init; }

    /// <summary>Gets the sessions of the application that were idle for so long, the longest first.</summary>
    public required ImmutableArray<SessionTermination> Sessions { get; init; }

    /// <summary>Gets how many sessions of the server hide their state from the pool's role, and may be idle too: they were left alone.</summary>
    public required int Hidden { get; init; }

    /// <summary>Gets how many sessions were told to end.</summary>
    public int Terminated => Sessions.Count(session => session.IsTerminated);

    /// <summary>One line for the whole, and one for each session.</summary>
    /// <returns>Lines.</returns>
    public override string ToString()
    {
        var hidden = Hidden > 0 ? string.Create(CultureInfo.InvariantCulture, $" {Hidden} sessions of the server hide their state from this role.") : "";
        var head = string.Create(
            CultureInfo.InvariantCulture,
            $"{(IsDryRun ? "Dry run: " : "")}{Terminated} of {Sessions.Length} sessions of '{ApplicationName}' that were idle for {Sentences.Duration(OlderThan)} or longer were terminated.{hidden}");
        return string.Join(Environment.NewLine, Sessions.Select(session => session.ToString()).Prepend(head));
    }
}
