using System.Collections.Immutable;
using System.Globalization;
using SafePool.Diagnostics;

namespace SafePool.Errors;

/// <summary>What is said for each verdict: what was seen, with its numbers, and what to do.</summary>
internal static class VerdictSentences
{
    private const string Page = "docs/verdicts.md";

    public static string HelpLink(PoolVerdict verdict) => $"{Page}#{verdict.ToString().ToLowerInvariant()}";

    /// <summary>The verdict with its evidence and remedy; the next cause besides, if there is one.</summary>
    public static string Describe(Diagnosis diagnosis)
    {
        var first = diagnosis.Evidence[0];
        var besides = diagnosis.Evidence.Length > 1 && diagnosis.Evidence[1].Verdict != PoolVerdict.Undersized
            ? $" Besides, {Sentences.Name(diagnosis.Evidence[1].Verdict)}: {Uncapitalized(diagnosis.Evidence[1].Text)}"
            : "";
        return $"Verdict: {Sentences.Name(first.Verdict)}. {first.Text} {first.Remedy}{besides}";
    }

    public static VerdictEvidence Explain(PoolVerdict verdict, int places, ImmutableArray<LeaseHolder> holders, PoolFacts facts)
    {
        var (text, remedy) = verdict switch
        {
            PoolVerdict.Leak => Leak(holders, facts),
            PoolVerdict.NestedRents => Nested(holders, facts),
            PoolVerdict.IdleHolders => Idle(holders),
            PoolVerdict.SlowQueries => Slow(holders, facts),
            PoolVerdict.ThreadPoolStarvation => Starved(facts),
            PoolVerdict.ServerFull => Full(facts),
            PoolVerdict.ServerUnreachable => Unreachable(holders, facts),
            PoolVerdict.SlowConnects => SlowConnects(facts),
            _ => Undersized(facts),
        };
        return new VerdictEvidence(verdict, places, text, remedy);
    }

    private static (string Text, string Remedy) Leak(ImmutableArray<LeaseHolder> holders, PoolFacts facts)
    {
        var lost = holders.Count(holder => holder.IsLost);
        var lostOnes = lost > 0 ? $" ({Number(lost)} of them lost: nothing refers to them any more)" : "";
        return ($"{Crowd(holders)} and {Quiet(holders)}{lostOnes}{Elsewhere(holders[0], facts)}.", "Dispose the lease with 'using'.");
    }

    private static (string Text, string Remedy) Idle(ImmutableArray<LeaseHolder> holders)
    {
        var inTransaction = holders.Count(holder => holder.Activity == LeaseActivity.IdleInTransaction);
        var transactions = inTransaction > 0 ? $", {Number(inTransaction)} of them idle in a transaction" : "";
        return (
            $"{Crowd(holders)} and {Have(holders)} been held for {Range(holders, holder => holder.Held)} mostly without a command{transactions}.",
            inTransaction > 0
                ? "Do slow work (HTTP calls, queues, locks) before the transaction begins or after it has ended; IdleInTransactionTimeout bounds it."
                : "Do slow work (HTTP calls, queues, locks) before renting or after returning.");
    }

    private static (string Text, string Remedy) Slow(ImmutableArray<LeaseHolder> holders, PoolFacts facts)
    {
        var waits = holders.Select(holder => holder.Backend?.WaitEvent).OfType<string>().GroupBy(wait => wait).MaxBy(group => group.Count());
        var waiting = waits is null ? "" : $", {Number(waits.Count())} of them wait for {waits.Key}";
        return (
            $"{Crowd(holders)} and {Have(holders)} been running a command for {Range(holders, holder => holder.BusyFor)}{waiting}.",
            facts.HasStatementTimeout ? "Look at these queries, or lower StatementTimeout." : "Look at these queries, and bound them with StatementTimeout (now none).");
    }

    private static (string Text, string Remedy) Nested(ImmutableArray<LeaseHolder> holders, PoolFacts facts)
        => (
            $"{Crowd(holders)} by flows that are waiting for another lease{(facts.IsDeadlock ? ", and so is every other holder: a deadlock" : "")}.",
            "Rent once in a flow and pass the lease down, or return the first before renting the second (NestedRents = Warn shows where).");

    private static (string Text, string Remedy) Starved(PoolFacts facts)
        => (
            $"{Number(facts.Threads.PendingWorkItems)} work items wait for {Number(facts.Threads.Threads)} threads, and the pool's own timer is {Sentences.Duration(facts.Threads.Lateness)} late: who could return a lease gets no thread.",
            "Do not block thread-pool threads (.Result, .Wait(), synchronous calls in asynchronous code).");

    private static (string Text, string Remedy) Full(PoolFacts facts)
        => (
            $"The server refuses more connections ({FirstLine(facts.Opens.LastError)}) while the pool has {Number(facts.Counts.Leased + facts.Counts.Idle)} of {Number(facts.Counts.Places)}.",
            "Make the MaxSize of all instances together fit into max_connections, or find out who uses the rest: SELECT application_name, count(*) FROM pg_stat_activity GROUP BY 1.");

    private static (string Text, string Remedy) Unreachable(ImmutableArray<LeaseHolder> holders, PoolFacts facts)
    {
        var error = facts.Opens.LastError is { } last
            ? $"The last open failed {Sentences.Duration(facts.Opens.SinceLastError)} ago: {FirstLine(last)}."
            : facts.ServerSilentFor is { } silent
            ? $"The server has not answered the control connection since {Sentences.Duration(silent)} ago."
            : $"{Number(facts.Counts.Quarantined)} connections do not answer and cannot be closed.";
        var stuck = holders.IsEmpty ? "" : $" {Number(holders.Length)} commands have had no answer for {Range(holders, holder => holder.BusyFor)}.";
        return (error + stuck, "Check that the server is up and that the network lets packets through.");
    }

    private static (string Text, string Remedy) SlowConnects(PoolFacts facts)
    {
        var pending = facts.Opens.OldestPending is { } oldest ? $"A connection has been opening for {Sentences.Duration(oldest)}" : "No connection is open";
        var last = facts.Opens.LastDuration is { } took ? $"; the last one took {Sentences.Duration(took)}" : "; none has ever opened";
        return ($"{pending}{last}. No open has failed.", $"Look at name lookup, TLS and authentication, or keep connections open with MinSize (now {Number(facts.MinSize)}).");
    }

    private static (string Text, string Remedy) Undersized(PoolFacts facts)
    {
        var hold = facts.MeanHold is { } mean ? $", held for {Sentences.Duration(mean)} on average" : "";
        var needed = facts.MeanHold is { } time ? facts.RentsPerSecond * time.TotalSeconds : 0;
        var demand = needed > 0
            ? string.Create(CultureInfo.InvariantCulture, $" That keeps {Math.Ceiling(needed):0} connections busy, and {facts.Counts.Waiting} callers wait besides.")
            : "";
        return (
            string.Create(CultureInfo.InvariantCulture, $"Nothing is wrong with the holders: {facts.RentsPerSecond:0.#} leases a second{hold}.{demand}"),
            $"Raise MaxSize (now {Number(facts.Counts.Places)}) if the server has room, or do less in each lease.");
    }

    /// <summary>How many leases were rented at which line, the most common one first.</summary>
    private static string Crowd(ImmutableArray<LeaseHolder> holders)
    {
        var crowd = holders.GroupBy(Sentences.Site).MaxBy(group => group.Count())!;
        var others = holders.Length - crowd.Count();
        var count = crowd.Count() == 1 ? "1 lease was" : $"{Number(crowd.Count())} leases were";
        return $"{count} rented at {crowd.Key}{(others > 0 ? $", {Number(others)} elsewhere," : "")}";
    }

    private static string Have(ImmutableArray<LeaseHolder> holders) => holders.Length == 1 ? "has" : "have";

    private static string Quiet(ImmutableArray<LeaseHolder> holders)
        => holders.All(holder => holder.Backend is not null)
            ? $"{Have(holders)} run no command for {Range(holders, holder => holder.QuietFor)}"
            : $"{(holders.Length == 1 ? "was" : "were")} not seen running a command for {Range(holders, holder => holder.QuietFor)}";

    private static string Elsewhere(LeaseHolder holder, PoolFacts facts)
        => facts.MedianHoldElsewhere(holder) is { } median ? $"; median hold elsewhere is {Sentences.Duration(median)}" : "";

    private static string Range(ImmutableArray<LeaseHolder> holders, Func<LeaseHolder, TimeSpan> of)
    {
        var least = Sentences.Duration(holders.Min(of));
        var most = Sentences.Duration(holders.Max(of));
        return least == most ? most : $"{least} to {most}";
    }

    private static string FirstLine(Exception? error) => error?.Message.Split('\n')[0].Trim() ?? "";

    private static string Number(long number) => number.ToString(CultureInfo.InvariantCulture);

    private static string Uncapitalized(string sentence) => char.ToLowerInvariant(sentence[0]) + sentence[1..];
}
