using System.Collections.Immutable;
using System.Diagnostics;
using SafePool.Admission;
using SafePool.Driver;
using SafePool.Leases;

namespace SafePool.Diagnostics;

/// <summary>Gathers the facts for a verdict, at the moment when a rent has failed.</summary>
internal sealed class Diagnostician(PoolParts parts)
{
    // Every caller whose time is up looks through the queue, under the gate's lock.
    private const int WaitersLookedAt = 256;

    // What hooks took in less says nothing about them.
    private static readonly TimeSpan _shortestLook = TimeSpan.FromSeconds(0.5);

    /// <param name="counts">As they were when the rent failed.</param>
    /// <param name="holders">Who held what then.</param>
    /// <param name="failed">What failed; no longer in the queue.</param>
    /// <param name="isDeadlock">It gave way, since every holder waited and nothing moved.</param>
    public Diagnosis Diagnose(GateCounts counts, ImmutableArray<LeaseHolder> holders, Refusal failed, bool isDeadlock)
    {
        object?[] waiting = [.. parts.Gate.Waiting(WaitersLookedAt), failed.Who];
        return VerdictFinder.Find(new PoolFacts
        {
            Counts = counts,
            Holders = holders,
            WaitingHolders = WaitingHolders(holders, waiting),
            InnerSite = InnerSite(waiting),
            IsDeadlock = isDeadlock,
            Opens = parts.Opens.Read(),
            Hooks = [.. parts.Hooks.Running.Select(call => new HookFacts(call.Name, parts.Clock.Since(call.BegunAt), call.IsRenting || call == failed.Hook))],
            HookShare = parts.Hooks.Share(failed.Waited > _shortestLook ? failed.Waited : _shortestLook, counts.Size),
            Unanswered = Unanswered(),
            Refusal = parts.Room.Refusal,
            ServerSilentFor = parts.Inspector.SilentFor,
            Threads = parts.Vitals.Threads(),
            RentsPerSecond = parts.Vitals.RentsPerSecond(),
            MeanHold = parts.Watch.Holds.Mean(),
            MedianHoldElsewhere = MedianHoldElsewhere,
            HasStatementTimeout = parts.Settings.SessionTimeouts.Any(timeout => timeout.Parameter == "statement_timeout"),
            MinSize = parts.Settings.MinSize,
        });
    }

    private ImmutableArray<TimeSpan> Unanswered()
    {
        var unanswered = ImmutableArray.CreateBuilder<TimeSpan>();
        foreach (var slot in parts.Ledger.Slots)
        {
            if (slot.LeaseId == 0 && slot.UnansweredFor is { } time)
            {
                unanswered.Add(time);
            }
        }

        return unanswered.ToImmutable();
    }

    private TimeSpan? MedianHoldElsewhere(LeaseHolder holder)
    {
        foreach (var slot in parts.Ledger.Slots)
        {
            if (slot.LeaseId == holder.LeaseId)
            {
                return parts.Watch.Holds.Median(slot.Site);
            }
        }

        return null;
    }

    /// <summary>The holders that wait themselves: by flow where flows are followed, and by trace where tracing is on.</summary>
    /// <remarks>A lease on which somebody has worked since its flow began to wait was handed on: not the flow will return it.</remarks>
    private static ImmutableHashSet<long> WaitingHolders(ImmutableArray<LeaseHolder> holders, object?[] waiting)
    {
        var leases = ImmutableHashSet.CreateBuilder<long>();
        var workedAt = new Dictionary<long, long>();
        foreach (var holder in holders)
        {
            workedAt[holder.LeaseId] = holder.WorkedAt;
        }

        var traces = new HashSet<string>();
        foreach (var who in waiting)
        {
            switch (who)
            {
                case RentFlow flow:
                    leases.UnionWith(flow.HeldLeases().Where(lease => workedAt.GetValueOrDefault(lease, long.MinValue) <= flow.BegunAt));
                    Note(flow.Trace);
                    break;
                case Activity activity:
                    Note(activity);
                    break;
            }
        }

        leases.UnionWith(holders.Where(holder => holder.TraceId is { } trace && traces.Contains(trace)).Select(holder => holder.LeaseId));
        return leases.ToImmutable();

        void Note(Activity? activity)
        {
            if (activity is not null)
            {
                traces.Add(activity.TraceId.ToHexString());
            }
        }
    }

    private static string? InnerSite(object?[] waiting)
        => waiting.OfType<RentFlow>()
            .Where(flow => flow.NearestHolding() is not null)
            .GroupBy(flow => flow.Site.ToString())
            .MaxBy(flows => flows.Count())?.Key;
}
