using SafePool.Driver;

namespace SafePool.Maintenance;

/// <summary>Ends the asking for signs of life (<see cref="PhysicalConnections.RequireProbes"/>) once nothing is at rest that was not heard of since it began.</summary>
/// <remarks>
/// <para>
/// While it lasts every rent and return goes the slow way, and a lease may be out for an hour. So what is leased is not waited for: its slot is marked, in the field with the generation, which its return reads anyway; that
/// return goes the slow way, and the asking goes on until somebody has taken the connection or a look finds nothing.
/// </para>
/// <para>
/// Concurrency: a look marks first and then finds the lease still out; a return ends the lease first and then reads the mark. There is a full fence between the two on either side, so one of them
/// sees the other: either the return resumes the asking, or the look does not end it. A connection that is neither leased nor at rest, on its way between the two, keeps the asking on. Thread-safety: none; the upkeep is the only caller.
/// </para>
/// </remarks>
internal sealed class UnheardConnections(PoolParts parts)
{
    // Npgsql hands out what has rested longest: after fewer rents than this everything that rested at the only host was taken once.
    private const int RentsPerPlace = 4;

    private int _asks;
    private long _rents;

    /// <summary>One look; called at every tick.</summary>
    public void Look()
    {
        if (!parts.Physicals.IsAsking)
        {
            return;
        }

        var asks = parts.Physicals.Asks;
        var rents = parts.Ledger.TotalRents;
        if (asks != _asks)
        {
            (_asks, _rents) = (asks, rents);
        }

        var unheard = parts.Physicals.FindUnheard();
        LeaveOutLeased(unheard);
        if (unheard.Count > 0)
        {
            if (rents - _rents < RentsPerPlace * parts.Gate.Places)
            {
                return;
            }

            // At hosts where nobody rents; or gone by itself, and not yet collected.
            LeaveToTheSweep(unheard);
        }

        parts.Physicals.EndProbes(asks);
    }

    private void LeaveOutLeased(HashSet<PhysicalConnection> unheard)
    {
        foreach (var slot in parts.Ledger.Slots)
        {
            if (slot.LeaseId is not 0 and var lease
                && slot.Connection is { } connection
                && parts.Source.Identify(connection) is { } physical
                && unheard.Contains(physical)
                && slot.TryMarkUnheard(lease))
            {
                unheard.Remove(physical);
            }
        }
    }

    private void LeaveToTheSweep(HashSet<PhysicalConnection> unheard)
    {
        if (parts.Source.Hosts is { IsSeveral: true })
        {
            foreach (var physical in unheard)
            {
                physical.NeedsFlush = true;
            }

            parts.Physicals.RequireCare();
        }
    }
}
