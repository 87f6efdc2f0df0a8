using System.Collections.Immutable;
using System.Globalization;
using SafePool.Driver;
using SafePool.Leases;
using SafePool.Operations;
using SafePool.Renting;
using SafePool.Reports;

namespace SafePool.Diagnostics;

/// <summary>What is said for each verdict: what was seen, with its numbers, and what to do.</summary>
internal static class VerdictSentences
{
    public static VerdictEvidence Explain(PoolVerdict verdict, int places, ImmutableArray<LeaseHolder> holders, PoolFacts facts)
    {
        var (text, remedy) = verdict switch
        {
            PoolVerdict.Leak => Leak(holders, facts),
            PoolVerdict.NestedRents => Nested(holders, facts),
            PoolVerdict.IdleHolders => Idle(holders, facts),
            PoolVerdict.SlowQueries => Slow(holders, facts),
            PoolVerdict.ThreadPoolStarvation => Starved(facts),
            PoolVerdict.ServerFull => Full(facts),
            PoolVerdict.ServerUnreachable => Unreachable(holders, facts),
            PoolVerdict.SlowConnects => SlowConnects(facts),
            _ => Undersized(holders, facts),
        };
        return new VerdictEvidence(verdict, places, text, remedy);
    }

    private static (string Text, string Remedy) Leak(ImmutableArray<LeaseHolder> holders, PoolFacts facts)
    {
        var lost = Some(holders, holder => holder.IsLost, "lost (nothing refers to them any more)");
        return ($"{Crowd(holders)} and {Quiet(holders)}{lost}{InTransaction(holders)}{Elsewhere(holders[0], facts)}.", "Dispose the lease with 'using'.");
    }

    private static (string Text, string Remedy) Idle(ImmutableArray<LeaseHolder> holders, PoolFacts facts)
    {
        if (holders.IsEmpty)
        {
            var hooks = VerdictFinder.LongHooks(facts).ToArray();
            var (name, said) = hooks.Length > 0 ? (hooks[0].Name, $"{InHooks(hooks)} not ended.") : (facts.HookShare!.Value.Name, InHooks(facts.HookShare.Value));
            return (said, $"Do in {name} only what the session needs, and heed its token.");
        }

        var transactions = InTransaction(holders);
        return (
            $"{Crowd(holders)} and {Have(holders)} been held for {Range(holders, holder => holder.Held)} mostly without a command{transactions}.",
            transactions.Length > 0
                ? "Do slow work (HTTP calls, queues, locks) before the transaction begins or after it has ended; IdleInTransactionTimeout bounds it."
                : "Do slow work (HTTP calls, queues, locks) before renting or after returning.");
    }

    private static (string Text, string Remedy) Slow(ImmutableArray<LeaseHolder> holders, PoolFacts facts)
    {
        var wait = holders.Select(holder => holder.Backend?.WaitEvent).OfType<string>().GroupBy(wait => wait).MaxBy(group => group.Count())?.Key;
        var waiting = wait is null ? "" : Some(holders, holder => holder.Backend?.WaitEvent == wait, $"waiting for {wait}");
        var reading = Some(holders, holder => holder.Activity == LeaseActivity.Reading, "with an open reader");
        return (
            $"{Crowd(holders)} and {Have(holders)} been running a command for {Range(holders, VerdictFinder.RunningFor)}{reading}{waiting}.",
            facts.HasStatementTimeout ? "Look at these queries, or lower StatementTimeout." : "Look at these queries, and bound them with StatementTimeout (now none).");
    }

    private static (string Text, string Remedy) Nested(ImmutableArray<LeaseHolder> holders, PoolFacts facts)
    {
        if (holders.IsEmpty && VerdictFinder.LongHooks(facts).Where(hook => hook.IsRenting).ToArray() is { Length: > 0 } hooks)
        {
            return ($"{InHooks(hooks)} been waiting for another lease.", "Use the connection that a hook is given, and rent none within it.");
        }

        var inner = facts.InnerSite is { } site ? $" at {site}" : "";
        var deadlock = facts.IsDeadlock ? ": a deadlock, as nothing moves on any of them, so this rent did not wait out its budget" : "";
        var where = facts.InnerSite is null ? " (NestedRents = Warn shows where)" : "";
        return (
            $"{Crowd(holders)} by flows that are waiting for another lease{inner}{deadlock}.",
            $"Rent once in a flow and pass the lease down, or return the first before renting the second{where}.");
    }

    private static (string Text, string Remedy) Starved(PoolFacts facts)
        => (
            $"{Number(facts.Threads.Waiting)} work items wait for one of {Number(facts.Threads.Threads)} threads, and {Number(facts.Threads.Done)} were done in the last {Sentences.Duration(facts.Threads.Elapsed)}: whoever could return a lease gets none{Delay(facts.Threads)}.",
            "Do not block thread-pool threads (.Result, .Wait(), synchronous calls in asynchronous code).");

    private static string Delay(ThreadFacts threads)
        => threads.Delay >= TimeSpan.FromMilliseconds(1) ? $"; a work item of the pool's own has waited for {Sentences.Duration(threads.Delay)}" : "";

    private static (string Text, string Remedy) Full(PoolFacts facts)
    {
        var error = facts.Opens.LastError ?? facts.Refusal;
        return (
            $"The server refuses more connections ({FirstLine(error)}) while the pool has {Number(facts.Counts.Leased + facts.Counts.Idle)} of {Number(facts.Counts.Size)}.",
            error is not null && !SqlStates.IsServerFull(error)
                ? "Ask whoever has answered so, the server or a pooler before it, why it lets nobody else in; one more is tried now and then."
                : "Make the MaxSize of all instances together fit into max_connections, or find out who uses the rest: SELECT application_name, count(*) FROM pg_stat_activity GROUP BY 1.");
    }

    private static (string Text, string Remedy) Unreachable(ImmutableArray<LeaseHolder> holders, PoolFacts facts)
    {
        const string remedy = "Check that the server is up and that the network lets packets through.";
        var silence = facts.ServerSilentFor is { } silent ? $"; nor did the server answer the control connection {Sentences.Duration(silent)} ago" : "";
        var stuck = holders.Length switch
        {
            0 => "",
            1 => $"1 command has had no answer for {Range(holders, VerdictFinder.RunningFor)}{silence}. ",
            _ => $"{Number(holders.Length)} commands have had no answer for {Range(holders, VerdictFinder.RunningFor)}{silence}. ",
        };
        var opens = facts.Opens.LastError is { } last ? $"The last open failed {Sentences.Duration(facts.Opens.SinceLastError)} ago: {FirstLine(last)}. " : "";
        var dying = facts.Counts.Quarantined switch
        {
            0 => "",
            1 => "1 connection does not answer and cannot be closed. ",
            var quarantined => $"{Number(quarantined)} connections do not answer and cannot be closed. ",
        };
        return ((stuck + Unanswered(facts) + opens + dying).TrimEnd(), remedy);
    }

    private static string Unanswered(PoolFacts facts)
    {
        var waiting = VerdictFinder.LongUnanswered(facts).ToArray();
        return waiting.Length switch
        {
            0 => "",
            1 => $"1 connection on its way back, or to its next lease, has waited for the server's answer for {Sentences.Duration(waiting[0])}. ",
            var several => $"{Number(several)} connections on their way back, or to their next lease, have waited for the server's answer for up to {Sentences.Duration(waiting.Max())}. ",
        };
    }

    /// <summary>The same for one that is never at it for long.</summary>
    private static string InHooks(HookShare share)
        => string.Create(
            CultureInfo.InvariantCulture,
            $"The hook {share.Name} keeps the connections: {share.Share:0 %} of their time in the last {Sentences.Duration(share.Over)} went into hooks.");

    /// <summary>Which hook is at it, how often and for how long: up to "have".</summary>
    private static string InHooks(HookFacts[] hooks)
    {
        var crowd = hooks.GroupBy(hook => hook.Name).MaxBy(group => group.Count())!;
        var times = crowd.Count() == 1 ? "keeps 1 connection, and" : $"keeps {Number(crowd.Count())} connections, and";
        return $"The hook {crowd.Key} {times} for {Sentences.Duration(crowd.Max(hook => hook.For))} has";
    }

    private static (string Text, string Remedy) SlowConnects(PoolFacts facts)
    {
        if (VerdictFinder.OpeningHook(facts) is { } hook)
        {
            return hook.IsRenting
                ? ($"The hook {hook.Name} has been waiting for another lease for {Sentences.Duration(hook.For)}.", "Use the connection that a hook is given, and rent none within it.")
                : ($"The hook {hook.Name} has been running for {Sentences.Duration(hook.For)}.", $"Do in {hook.Name} only what the session needs, and heed its token.");
        }

        if (facts.Opens.LastError is { InnerException: HookTimeoutException } late)
        {
            return (
                $"The last open failed {Sentences.Duration(facts.Opens.SinceLastError)} ago: {FirstLine(late)}.",
                $"Do in {nameof(ConnectionPoolOptions.PhysicalConnectionOpened)} only what the session needs, and heed its token.");
        }

        var pending = facts.Opens.OldestPending is { } oldest ? $"A connection has been opening for {Sentences.Duration(oldest)}" : "No connection is open";
        var last = facts.Opens.LastDuration is { } took ? $"; the last one took {Sentences.Duration(took)}" : "; none has ever opened";
        return ($"{pending}{last}. No open has failed.", $"Look at name lookup, TLS and authentication, or keep connections open with MinSize (now {Number(facts.MinSize)}).");
    }

    private static (string Text, string Remedy) Undersized(ImmutableArray<LeaseHolder> holders, PoolFacts facts)
    {
        var remedy = $"Raise MaxSize (now {Number(facts.Counts.Size)}) if the server has room, or do less in each lease.";
        var busy = holders.Where(VerdictFinder.IsTelling).ToImmutableArray();
        if (!busy.IsEmpty)
        {
            return ($"{Crowd(busy)} and {Have(busy)} been held for {Range(busy, holder => holder.Held)}, one short command after the other.", remedy);
        }

        // Little's law: so many are busy on average. Where that is far from all, something else holds them, and was not seen for long enough.
        if (facts.MeanHold is not { } hold || facts.RentsPerSecond * hold.TotalSeconds < facts.Counts.Size / 2.0)
        {
            return facts.Holders.IsEmpty
                ? (OfNobody(facts), remedy)
                : ($"Nothing is wrong with the holders as far as was seen, and that is too little to say more: the longest lease has been held for {Sentences.Duration(facts.Holders[0].Held)}, rented at {Sentences.Site(facts.Holders[0])}.",
                    $"Look at that line first, and at a wait that is longer; raise MaxSize (now {Number(facts.Counts.Size)}) only if all of its connections are needed.");
        }

        var needed = Math.Min(Math.Ceiling(facts.RentsPerSecond * hold.TotalSeconds), facts.Counts.Size);
        return (
            string.Create(
                CultureInfo.InvariantCulture,
                $"Nothing is wrong with the holders: {facts.RentsPerSecond:0.#} leases a second, held for {Sentences.Duration(hold)} on average, keep {needed:0} of {facts.Counts.Size} connections busy."),
            remedy);
    }

    private static string OfNobody(PoolFacts facts)
        => facts.Counts.Leased == 0
            ? "Nothing is wrong with the holders."
            : $"There is too little to say more: {Number(facts.Counts.Leased)} of {Number(facts.Counts.Size)} connections were on their way back, or to their next lease, and no other lease was out.";

    /// <summary>How many leases were rented at which line, the most common one first.</summary>
    private static string Crowd(ImmutableArray<LeaseHolder> holders)
    {
        var crowd = holders.GroupBy(Sentences.Site).MaxBy(group => group.Count())!;
        var others = holders.Length - crowd.Count();
        var count = crowd.Count() == 1 ? "1 lease was" : $"{Number(crowd.Count())} leases were";
        return $"{count} rented at {crowd.Key}{(others > 0 ? $", {Number(others)} elsewhere," : "")}";
    }

    /// <summary>", all idle", ", 2 of them idle", or nothing.</summary>
    private static string Some(ImmutableArray<LeaseHolder> holders, Func<LeaseHolder, bool> which, string what)
        => holders.Count(which) switch
        {
            0 => "",
            var all when all == holders.Length => all == 1 ? $", {what}" : $", all {what}",
            var some => $", {Number(some)} of them {what}",
        };

    private static string InTransaction(ImmutableArray<LeaseHolder> holders)
        => Some(holders, holder => holder.Activity == LeaseActivity.IdleInTransaction, "idle in a transaction");

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

    /// <summary>Without the end of the sentence, which is the caller's; with the cause, as Npgsql's own words are often no more than "Failed to connect".</summary>
    private static string FirstLine(Exception? error)
    {
        var line = error?.Message.Split('\n')[0].Trim().TrimEnd('.') ?? "";
        return error?.InnerException is { } cause ? $"{line}: {FirstLine(cause)}" : line;
    }

    private static string Number(long number) => number.ToString(CultureInfo.InvariantCulture);
}
