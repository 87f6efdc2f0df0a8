using SafePool.Diagnostics;
using SafePool.Leases;

namespace SafePool.Leaks;

/// <summary>Takes leases away that have been quiet for too long while callers wait (<see cref="LeakOptions.AbandonAfter"/>).</summary>
/// <remarks>
/// First suspect, then act: only a lease that was announced as overdue at an earlier look is considered, and only for as many callers as wait. Any
/// activity begins its time anew. The connection is retired the way of a busy return: what runs is cancelled, and only if that does not end it is the
/// backend told to end.
/// </remarks>
internal sealed class AbandonedLeases(PoolParts parts, Reclaimer reclaimer)
{
    /// <param name="suspects">The leases that were announced as overdue at an earlier look.</param>
    public void CutOff(List<LeaseSlot> suspects)
    {
        if (suspects.Count == 0 || parts.Settings.Leaks.AbandonAfter is not { } patience)
        {
            return;
        }

        // With an open under way somebody will be served without this, and with a lease that is being taken away already.
        var counts = parts.Gate.Read();
        // A pool that fails all callers at once has none that wait: somebody must come free all the same.
        var unserved = Math.Max(counts.Waiting, parts.Exhaustion.IsTripped ? 1 : 0) - reclaimer.UnderWay;
        if (unserved <= 0 || counts is not { Idle: 0, Opening: 0 })
        {
            return;
        }

        var quietest = suspects
            .Select(slot => (Slot: slot, Holder: parts.Holders.Describe(slot)))
            .Where(suspect => suspect.Holder is { } holder && IsAbandoned(holder, patience))
            .OrderByDescending(suspect => suspect.Holder!.QuietFor)
            .Take(unserved);
        foreach (var (slot, holder) in quietest.ToArray())
        {
            if (parts.Inspector.HasAnswered(slot, holder!.LeaseId))
            {
                reclaimer.TryTakeBack(LeakKind.Abandoned, slot, holder);
            }
            else
            {
                // The server may have seen commands that fell between two looks.
                parts.Inspector.Ask();
            }
        }
    }

    private bool IsAbandoned(LeaseHolder holder, TimeSpan patience)
        => holder.IsBusy
            ? parts.Settings.Leaks.TerminateRunning && holder.BusyFor >= patience
            : holder.QuietFor >= patience;
}
