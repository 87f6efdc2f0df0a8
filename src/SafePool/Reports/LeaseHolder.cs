using System.Diagnostics;
using SafePool.Operations;
using SafePool.Reports;

namespace SafePool;

/// <summary>A lease that was out when somebody looked.</summary>
public sealed record LeaseHolder
{
    /// <summary>Gets the lease's number, unique in its pool.</summary>
    public required long LeaseId { get; init; }

    /// <summary>Gets the member that rented it; empty with <see cref="LeaseTracking.Off"/>.</summary>
    public required string Member { get; init; }

    /// <summary>Gets the name of the file in which it was rented; not its path, which would show the build machine.</summary>
    public required string File { get; init; }

    /// <summary>Gets the line at which it was rented.</summary>
    public required int Line { get; init; }

    /// <summary>Gets the renter's own word for it, if there was one.</summary>
    public string? Label { get; init; }

    /// <summary>Gets how long it has been held, to a quarter of a second.</summary>
    public required TimeSpan Held { get; init; }

    /// <summary>Gets what its connection was doing.</summary>
    public LeaseActivity Activity { get; init; }

    /// <summary>Gets for how long nothing was seen to run on it, and nobody asked it for its connection.</summary>
    /// <remarks>
    /// Looked at four times a second: a command on a connection that was kept may begin and end in between. Exact where
    /// <see cref="Backend"/> is known.
    /// </remarks>
    public TimeSpan QuietFor { get; init; }

    /// <summary>Gets the process id of its session on the server; null when the connection is not open.</summary>
    public int? BackendProcessId { get; init; }

    /// <summary>Gets the trace in which it was rented; null without tracing.</summary>
    public string? TraceId { get; init; }

    /// <summary>Gets what the server said about its session; null without <see cref="LeakOptions.InspectBackends"/>, or before it was asked.</summary>
    public BackendActivity? Backend { get; init; }

    /// <summary>Gets the calls that led to the rent, one a line, without those of the framework and of SafePool; null when none was taken.</summary>
    /// <remarks>Formatted when it is read. Has no line numbers: the line of the rent itself is <see cref="Line"/>.</remarks>
    public string? StackTrace => field ??= Calls is null ? null : CallStack.Format(Calls);

    /// <summary>The stack as it was taken.</summary>
    internal StackTrace? Calls { get; init; }

    /// <summary>For how long it may be held.</summary>
    internal TimeSpan Threshold { get; init; }

    /// <summary>For how long a command has been running, or a reader has been open, as far as was seen.</summary>
    internal TimeSpan BusyFor { get; init; }

    /// <summary>The share of looks at which something ran; 0 without any look.</summary>
    internal double BusyShare { get; init; }

    /// <summary>When somebody last did something with it, as a timestamp of the pool's clock.</summary>
    internal long WorkedAt { get; init; } = long.MinValue;

    /// <summary>The collector has found that its copies are gone.</summary>
    internal bool IsLost { get; init; }

    internal bool IsBusy => Activity is LeaseActivity.Running or LeaseActivity.Reading;

    /// <summary>Where and how long, for a message.</summary>
    /// <returns>For example <c>lease 8123, 41.0 s, rented at OrderStore.cs:57 (LoadAsync), pid 4711</c>.</returns>
    public override string ToString() => Sentences.Describe(this);
}
