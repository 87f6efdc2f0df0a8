using System.Collections.Immutable;
using SafePool.Connections;
using SafePool.Errors;

namespace SafePool.Diagnostics;

/// <summary>Finds out why a pool ran out, from facts alone.</summary>
/// <remarks>
/// <para>
/// Every place that cannot serve is put down to exactly one cause, the first that fits in the order below; the cause with most places is the verdict, the earlier one if
/// two have as many. <see cref="PoolVerdict.Undersized"/> is what is left when nothing is wrong with any holder, so it never outweighs another.
/// </para>
/// <para>
/// Holds of less than a second tell nothing: at four looks a second they were seen too seldom.
/// </para>
/// </remarks>
internal static class VerdictFinder
{
    private static readonly TimeSpan _telling = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan _recently = TimeSpan.FromSeconds(10);

    public static Diagnosis Find(PoolFacts facts)
    {
        if (facts.IsDeadlock)
        {
            return new Diagnosis([VerdictSentences.Explain(PoolVerdict.NestedRents, facts.Holders.Length, facts.Holders, facts)]);
        }

        var evidence = facts.Holders
            .GroupBy(holder => CauseOf(holder, facts))
            .Select(cause => (Verdict: cause.Key, Places: cause.Count(), Holders: cause.ToImmutableArray()))
            .Append(OfPlacesWithoutConnection(facts))
            .GroupBy(cause => cause.Verdict)
            .Select(cause => (Verdict: cause.Key, Places: cause.Sum(part => part.Places), Holders: cause.SelectMany(part => part.Holders).ToImmutableArray()))
            .Where(cause => cause.Places > 0)
            .OrderBy(cause => cause.Verdict == PoolVerdict.Undersized)
            .ThenByDescending(cause => cause.Places)
            .ThenBy(cause => Rank(cause.Verdict))
            .Select(cause => VerdictSentences.Explain(cause.Verdict, cause.Places, cause.Holders, facts))
            .ToImmutableArray();
        return new Diagnosis(evidence.IsEmpty ? [VerdictSentences.Explain(PoolVerdict.Undersized, 0, [], facts)] : evidence);
    }

    private static PoolVerdict CauseOf(LeaseHolder holder, PoolFacts facts)
    {
        if (holder.IsLost || holder.QuietFor >= holder.Threshold)
        {
            // Quiet because it waits for a second lease: that is not a leak, whatever the threshold.
            return facts.WaitingHolders.Contains(holder.LeaseId) && !holder.IsLost ? PoolVerdict.NestedRents : PoolVerdict.Leak;
        }

        if (facts.WaitingHolders.Contains(holder.LeaseId))
        {
            return PoolVerdict.NestedRents;
        }

        if (facts.Threads.IsStarved)
        {
            // Nobody comes to dispose what is done.
            return PoolVerdict.ThreadPoolStarvation;
        }

        if (holder.IsBusy && holder.BusyFor >= _telling)
        {
            return facts.ServerSilentFor is null ? PoolVerdict.SlowQueries : PoolVerdict.ServerUnreachable;
        }

        return holder.Held >= _telling && !holder.IsBusy && (holder.BusyShare <= 0.5 || holder.Activity == LeaseActivity.IdleInTransaction)
            ? PoolVerdict.IdleHolders
            : PoolVerdict.Undersized;
    }

    /// <summary>Places that hold no lease: being opened, not to be opened, or waiting for a connection to die.</summary>
    private static (PoolVerdict Verdict, int Places, ImmutableArray<LeaseHolder> Holders) OfPlacesWithoutConnection(PoolFacts facts)
    {
        var opens = facts.Opens;
        var unopened = facts.Counts.Vacant + facts.Counts.Opening;
        var verdict = opens.LastError is { } error && (unopened > 0 || opens.SinceLastError < _recently)
            ? SqlStates.IsServerFull(error) ? PoolVerdict.ServerFull : PoolVerdict.ServerUnreachable
            : facts.Counts.Quarantined > 0 ? PoolVerdict.ServerUnreachable
            : PoolVerdict.SlowConnects;
        return (verdict, unopened + facts.Counts.Quarantined, []);
    }

    private static int Rank(PoolVerdict verdict) => verdict switch
    {
        PoolVerdict.Leak => 0,
        PoolVerdict.NestedRents => 1,
        PoolVerdict.ThreadPoolStarvation => 2,
        PoolVerdict.ServerFull => 3,
        PoolVerdict.ServerUnreachable => 4,
        PoolVerdict.SlowConnects => 5,
        PoolVerdict.IdleHolders => 6,
        PoolVerdict.SlowQueries => 7,
        _ => 8,
    };
}
