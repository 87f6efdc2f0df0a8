using System.Collections.Immutable;
using Npgsql;
using SafePool.Leases;
using SafePool.Operations;
using SafePool.Options;
using SafePool.Time;

namespace SafePool.Diagnostics;

/// <summary>Puts together what is known of the leases that are out: who, where, since when, and what they do.</summary>
internal sealed class Holders(LeaseLedger ledger, ActivitySampler sampler, BackendInspector inspector, PoolClock clock, LeakSettings leaks)
{
    private volatile LeakSettings _leaks = leaks;

    /// <summary>Changes when a lease is overdue.</summary>
    public void Apply(LeakSettings leaks) => _leaks = leaks;

    /// <summary>The leases that are out, and those that were returned before their transaction's end, the longest held first.</summary>
    public ImmutableArray<LeaseHolder> All()
    {
        var holders = new List<LeaseHolder>();
        foreach (var slot in ledger.Slots)
        {
            if ((Describe(slot) ?? Awaiting(slot)) is { } holder)
            {
                holders.Add(holder);
            }
        }

        return [.. holders.OrderByDescending(holder => holder.Held)];
    }

    /// <summary>The lease on a slot; null when there is none, or when it ended or changed while it was read.</summary>
    public LeaseHolder? Describe(LeaseSlot slot)
    {
        var id = slot.LeaseId;
        var holder = id == 0 ? null : Describe(slot, id);
        return slot.LeaseId == id ? holder : null;
    }

    /// <summary>The lease that the caller knows to be on a slot, also one that he has just settled.</summary>
    public LeaseHolder Describe(LeaseSlot slot, long id)
    {
        var seen = sampler.Observe(slot, id);
        var backend = inspector.Of(slot, id);
        return new LeaseHolder
        {
            LeaseId = id,
            Member = slot.Site.Member ?? "",
            File = slot.Site.File,
            Line = slot.Site.Line,
            Label = slot.Options?.Label,
            Held = clock.Since(slot.RentedAt),
            Activity = backend is null ? seen.Activity : Refine(seen.Activity, backend),
            QuietFor = QuietFor(seen, backend),
            BusyFor = backend is { State: "active", QueryAge: { } age } && age < seen.BusyFor ? age : seen.BusyFor,
            BusyShare = seen.BusyShare,
            WorkedAt = seen.WorkedAt,
            BackendProcessId = ProcessIdOf(slot.Connection),
            TraceId = slot.Trace?.TraceId.ToHexString(),
            Backend = backend,
            Calls = slot.Calls,
            Threshold = slot.Options?.ExpectedHold ?? _leaks.Threshold,
            IsLost = slot.LostLeaseId == id,
        };
    }

    /// <summary>Each source may have missed a command, the sampler a short one, the server's answer a later one; so the shorter time is nearer to the truth.</summary>
    private static TimeSpan QuietFor(Observation seen, BackendActivity? backend)
        => backend is not null && backend.State.StartsWith("idle", StringComparison.Ordinal) && backend.StateAge < seen.QuietFor
            ? backend.StateAge
            : seen.QuietFor;

    /// <summary>The client knows best what runs; only the server knows of a transaction that was begun by SQL.</summary>
    private static LeaseActivity Refine(LeaseActivity seen, BackendActivity backend)
        => seen == LeaseActivity.Idle && backend.State.StartsWith("idle in transaction", StringComparison.Ordinal)
            ? LeaseActivity.IdleInTransaction
            : seen;

    private LeaseHolder? Awaiting(LeaseSlot slot)
        => slot.Enlistment is { IsParked: true, LastHolder: { } last, HeldSince: var since } ? last with { Held = clock.Since(since) } : null;

    private static int? ProcessIdOf(NpgsqlConnection? connection)
    {
        try
        {
            return connection?.ProcessID;
        }
        catch (Exception error) when (error is InvalidOperationException or NullReferenceException)
        {
            // Closed, broken or on its way there: read from another flow, which Npgsql does not expect.
            return null;
        }
    }
}
