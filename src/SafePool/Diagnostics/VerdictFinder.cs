using System.Collections.Immutable;
using SafePool.Admission;
using SafePool.Driver;
using SafePool.Leases;
using SafePool.Operations;
using SafePool.Renting;

namespace SafePool.Diagnostics;

/// <summary>Finds out why a pool ran out, from facts alone.</summary>
/// <remarks>
/// <para>
/// Every place that cannot serve is put down to exactly one cause, the first that fits in the order below; the cause with most places is the verdict, the earlier one if
/// two have as many. <see cref="PoolVerdict.Undersized"/> is what is left when nothing is wrong with any holder, so it never outweighs another. Starvation is
/// told besides even where it accounts for no place: threads that block in a rent are what a leak leads to.
/// </para>
/// <para>
/// Holds of less than a second tell nothing: at four looks a second they were seen too seldom. Many short commands look like a long one then; only what the server
/// says of the present one can tell them apart.
/// </para>
/// <para>
/// Places that are leased and have no holder are in a hook, or wait for the server on their way back or to their next lease. Hooks of which no single run is long are told by the time that all runs took together.
/// </para>
/// </remarks>
internal static class VerdictFinder
{
    private static readonly TimeSpan _telling = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan _look = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan _unanswered = TimeSpan.FromMilliseconds(200);
    private static readonly TimeSpan _stale = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan _recently = TimeSpan.FromSeconds(10);

    public static Diagnosis Find(PoolFacts facts)
    {
        if (facts.IsDeadlock)
        {
            return new Diagnosis([VerdictSentences.Explain(PoolVerdict.NestedRents, facts.Holders.Length, facts.Holders, facts)]);
        }

        // Where hooks take most of the time, leases that were met in between are no sign of too small a pool.
        var inHooks = facts.Holders.Where(holder => IsTakenByHooks(facts) && CauseOf(holder, facts) == PoolVerdict.Undersized).ToImmutableArray();
        var hooks = OfPlacesInHooks(facts, inHooks.Length);
        var evidence = facts.Holders
            .Except(inHooks)
            .GroupBy(holder => CauseOf(holder, facts))
            .Select(cause => (Verdict: cause.Key, Places: cause.Count(), Holders: cause.ToImmutableArray()))
            .Append(hooks)
            .Append(OfPlacesWithoutAnswer(facts, Unheld(facts) + inHooks.Length - hooks.Places))
            .Append(OfPlacesWithoutConnection(facts))
            .Append((Verdict: PoolVerdict.ThreadPoolStarvation, Places: 0, Holders: []))
            .GroupBy(cause => cause.Verdict)
            .Select(cause => (Verdict: cause.Key, Places: cause.Sum(part => part.Places), Holders: cause.SelectMany(part => part.Holders).ToImmutableArray()))
            .Where(cause => cause.Places > 0 || (cause.Verdict == PoolVerdict.ThreadPoolStarvation && facts.Threads.IsStarved))
            .OrderBy(cause => cause.Verdict == PoolVerdict.Undersized)
            .ThenByDescending(cause => cause.Places)
            .ThenBy(cause => Rank(cause.Verdict))
            .Select(cause => VerdictSentences.Explain(cause.Verdict, cause.Places, cause.Holders, facts))
            .ToImmutableArray();
        return new Diagnosis(evidence.IsEmpty ? [VerdictSentences.Explain(PoolVerdict.Undersized, 0, [], facts)] : evidence);
    }

    /// <summary>For how long the present command has been running, as far as is known.</summary>
    public static TimeSpan RunningFor(LeaseHolder holder)
        => holder.Backend is { } backend && backend.StateAge < holder.BusyFor ? backend.StateAge : holder.BusyFor;

    public static bool IsTelling(LeaseHolder holder) => holder.Held >= _telling;

    /// <summary>The hooks that keep a place from its next lease: they have been at it for long, or wait for a lease themselves.</summary>
    public static IEnumerable<HookFacts> LongHooks(PoolFacts facts)
        => facts.Hooks.Where(hook => hook.Name != nameof(ConnectionPoolOptions.PhysicalConnectionOpened) && (hook.IsRenting || hook.For >= _look));

    /// <summary>The places without a lease that have waited for the server for too long.</summary>
    public static IEnumerable<TimeSpan> LongUnanswered(PoolFacts facts) => facts.Unanswered.Where(time => time >= _unanswered);

    /// <summary>The hook that keeps an open from its end.</summary>
    public static HookFacts? OpeningHook(PoolFacts facts)
        => facts.Hooks
            .Where(hook => hook.Name == nameof(ConnectionPoolOptions.PhysicalConnectionOpened) && (hook.IsRenting || hook.For >= _look))
            .Select(hook => (HookFacts?)hook)
            .MaxBy(hook => hook!.Value.For);

    private static PoolVerdict CauseOf(LeaseHolder holder, PoolFacts facts)
    {
        // Who runs a command does not wait for a lease, whoever of its trace does.
        var isWaiting = facts.WaitingHolders.Contains(holder.LeaseId) && holder.Activity != LeaseActivity.Running;
        if (holder.IsLost || holder.QuietFor >= holder.Threshold)
        {
            // Quiet because it waits for a second lease: that is not a leak, whatever the threshold.
            return isWaiting && !holder.IsLost ? PoolVerdict.NestedRents : PoolVerdict.Leak;
        }

        if (isWaiting)
        {
            return PoolVerdict.NestedRents;
        }

        if (facts.Threads.IsStarved)
        {
            // Nobody comes to dispose what is done.
            return PoolVerdict.ThreadPoolStarvation;
        }

        if (holder.IsBusy && IsLong(holder) && !HasBegunAnew(holder))
        {
            return facts.ServerSilentFor is null ? PoolVerdict.SlowQueries : PoolVerdict.ServerUnreachable;
        }

        return IsTelling(holder) && IsMostlyIdle(holder) ? PoolVerdict.IdleHolders : PoolVerdict.Undersized;
    }

    /// <summary>The first look at a lease comes up to a quarter of a second after its beginning: one that was at work at every look since has been so for as long as it is held.</summary>
    private static bool IsLong(LeaseHolder holder)
        => holder.BusyFor >= _telling || (IsTelling(holder) && holder.BusyFor >= _look && holder.BusyShare >= 1);

    /// <summary>One that is at work now, and was never seen at work before, has not been watched for long enough.</summary>
    private static bool IsMostlyIdle(LeaseHolder holder)
        => holder.IsBusy ? holder.BusyShare is > 0 and <= 0.5 : holder.BusyShare <= 0.5 || holder.Activity == LeaseActivity.IdleInTransaction;

    /// <summary>The server has seen a command begin since the first look that found one running; an answer is up to a second and a half old.</summary>
    private static bool HasBegunAnew(LeaseHolder holder) => RunningFor(holder) < _stale && RunningFor(holder) < holder.BusyFor - _look;

    /// <summary>Places that hold no lease: being opened, not to be opened, or waiting for a connection to die.</summary>
    private static (PoolVerdict Verdict, int Places, ImmutableArray<LeaseHolder> Holders) OfPlacesWithoutConnection(PoolFacts facts)
    {
        var opens = facts.Opens;
        var unopened = facts.Counts.Missing;
        var verdict = IsHeldUpByHook(facts) ? PoolVerdict.SlowConnects
            : opens.LastError is { } error && (unopened > 0 || opens.SinceLastError < _recently)
            ? IsFull(error, facts.Counts) ? PoolVerdict.ServerFull : PoolVerdict.ServerUnreachable
            : facts.Refusal is not null && unopened > 0 ? PoolVerdict.ServerFull
            : facts.Counts.Quarantined > 0 ? PoolVerdict.ServerUnreachable
            : PoolVerdict.SlowConnects;
        return (verdict, unopened + facts.Counts.Quarantined, []);
    }

    /// <summary>Places whose lease has not begun, or has ended, because a hook is at work: one that rents waits for another lease, any other keeps the connection idle.</summary>
    /// <param name="facts">The facts.</param>
    /// <param name="between">Leases that say nothing, met between two hooks.</param>
    private static (PoolVerdict Verdict, int Places, ImmutableArray<LeaseHolder> Holders) OfPlacesInHooks(PoolFacts facts, int between)
    {
        var hooks = LongHooks(facts).ToArray();
        var places = IsTakenByHooks(facts) ? Unheld(facts) + between : Math.Min(hooks.Length, Unheld(facts));
        return (hooks.Any(hook => hook.IsRenting) ? PoolVerdict.NestedRents : PoolVerdict.IdleHolders, places, []);
    }

    /// <summary>Places whose connection has something to say to the server before its next lease, and gets no answer.</summary>
    private static (PoolVerdict Verdict, int Places, ImmutableArray<LeaseHolder> Holders) OfPlacesWithoutAnswer(PoolFacts facts, int most)
    {
        // A return that is in its hook waits for that.
        var returning = facts.Hooks.Count(hook => hook.Name == nameof(ConnectionPoolOptions.LeaseReturning));
        var verdict = facts.Threads.IsStarved ? PoolVerdict.ThreadPoolStarvation : PoolVerdict.ServerUnreachable;
        return (verdict, Math.Clamp(LongUnanswered(facts).Count() - returning, 0, most), []);
    }

    /// <summary>No run of a hook need be long: together they took half of the places' time, or more.</summary>
    private static bool IsTakenByHooks(PoolFacts facts) => facts.HookShare is { Share: >= 0.5 } && !facts.Threads.IsStarved;

    /// <summary>How many places are leased, as the gate counts, and have no lease: it has not begun yet, or has ended.</summary>
    private static int Unheld(PoolFacts facts) => Math.Max(0, facts.Counts.Leased - facts.Holders.Length);

    private static bool IsHeldUpByHook(PoolFacts facts)
        => OpeningHook(facts) is not null || facts.Opens.LastError is { InnerException: HookTimeoutException };

    /// <summary>Who refuses one more, in whatever words, while others serve on, is full.</summary>
    private static bool IsFull(Exception error, GateCounts counts)
        => SqlStates.IsServerFull(error) || (counts.Connections > 0 && OpenFailures.IsRefusedForNow(error));

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
