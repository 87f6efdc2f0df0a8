using SafePool.Reports;

namespace SafePool;

/// <summary>A session that was idle for long enough, and what became of it.</summary>
/// <param name="Session">As it was when the sessions were listed.</param>
/// <param name="Outcome">Whether it was told to end, and if not why.</param>
public sealed record SessionTermination(ServerSession Session, TerminationOutcome Outcome)
{
    /// <summary>Gets whether it was told to end.</summary>
    public bool IsTerminated => Outcome == TerminationOutcome.Terminated;

    /// <summary>One line.</summary>
    /// <returns><c>pid 4711 of 'orders' (role app, database shop), idle for 6 min 2 s: terminated</c>.</returns>
    public override string ToString() => $"{Session}: {Sentences.Name(Outcome)}";
}
