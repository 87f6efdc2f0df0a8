using SafePool.Diagnostics;
using SafePool.Leases;

namespace SafePool.Leaks;

/// <summary>The one scanner: looks at every lease that is out, at every tick, and reports those that are held for too long. There is no timer per lease.</summary>
/// <remarks>
/// A lease on which something runs is mentioned, not reported, until it outlasts <see cref="LeakOptions.BusyThreshold"/>. Each lease is reported once; that it
/// came back after all is said by <see cref="NoteReturn"/>.
/// </remarks>
internal sealed class LeakDetector(PoolParts parts, AbandonedLeases abandoned)
{
    private readonly List<LeaseSlot> _suspects = [];

    /// <summary>One look at everything; never two at once.</summary>
    public void Scan()
    {
        _suspects.Clear();
        foreach (var slot in parts.Ledger.Slots)
        {
            if (slot.LeaseId is var leaseId and not 0)
            {
                parts.Sampler.Look(slot, leaseId);
                if (parts.Settings.Leaks.Tracking != LeaseTracking.Off && parts.Ledger.IsOverdue(slot, parts.Settings.Leaks.Threshold))
                {
                    Examine(slot, leaseId);
                }
            }
        }

        abandoned.CutOff(_suspects);
    }

    /// <summary>The return of a lease that has been settled, and about which something may have been said.</summary>
    public void NoteReturn(LeaseSlot slot, long leaseId)
    {
        var report = slot.Report;
        slot.Report = null;
        if (report?.LeaseId == leaseId && report.Close())
        {
            parts.Reports.Say(LeakKind.ReturnedAfterAll, slot, parts.Holders.Describe(slot, leaseId));
        }
    }

    private void Examine(LeaseSlot slot, long leaseId)
    {
        var report = slot.Report;
        if (report?.LeaseId != leaseId)
        {
            slot.Report = report = new OverdueReport(leaseId);

            // Whoever returns the lease reads this after settling it; who announces looks at the lease after this. One of them sees the other.
            Interlocked.MemoryBarrier();
        }

        if (report.IsAnnounced)
        {
            _suspects.Add(slot);
        }
        else if (parts.Holders.Describe(slot) is { } holder && holder.LeaseId == leaseId)
        {
            Tell(slot, report, holder);
        }
    }

    private void Tell(LeaseSlot slot, OverdueReport report, LeaseHolder holder)
    {
        var busyThreshold = parts.Settings.Leaks.BusyThreshold;
        var held = holder.Held - parts.Clock.FrozenSince(slot.RentedAt);
        var onlyMentions = holder.IsBusy && held < (busyThreshold >= holder.Threshold ? busyThreshold : holder.Threshold * 2);
        if (onlyMentions && report.IsBusyMentioned)
        {
            return;
        }

        if (!parts.Inspector.HasAnswered(slot, holder.LeaseId))
        {
            // Said at one of the next looks, with the answer.
            parts.Inspector.Ask();
        }
        else if (onlyMentions)
        {
            if (report.TryMentionBusy())
            {
                parts.Reports.MentionBusy(holder);
            }
        }
        else if (slot.LeaseId == holder.LeaseId && report.TryAnnounce())
        {
            parts.Reports.Say(LeakKind.Overdue, slot, holder);
        }
    }
}
