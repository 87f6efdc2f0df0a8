using SafePool.Driver;
using SafePool.Driver.Hosts;
using SafePool.Leases;

namespace SafePool.Lifecycle;

/// <summary>Goes on with another data source at a host where what has no place any more is about to use up Npgsql's own limit (<see cref="DriverPool"/>).</summary>
/// <remarks>
/// The connections of the old one go with it, as in a clear: a second take on the hot path, from two data sources, would be the price of keeping them. It is done within an attempt to open, because it calls the user,
/// who may hang: that attempt is given up then, and others do the same or go on with what there is.
/// </remarks>
internal sealed class DriverRenewal(PoolParts parts, RestingPlaces resting)
{
    /// <summary>True when something was retired, and may be wanted again.</summary>
    public bool TryRenewWorn()
    {
        var isDone = false;
        if (parts.Source.Hosts is { } hosts)
        {
            foreach (var host in hosts.All)
            {
                isDone |= host.Driver.IsWorn(parts.Settings.MaxSize) && TryRenew(hosts, host);
            }
        }

        return isDone;
    }

    /// <summary>Retires what leads to one host and has ended there: what is idle now, what is leased when it comes back.</summary>
    public void Retire(IReadOnlyList<PhysicalConnection> doomed)
    {
        var inUse = new HashSet<PhysicalConnection>();
        foreach (var slot in parts.Ledger.Slots)
        {
            if (slot.Connection is { } connection && parts.Source.Identify(connection) is { } physical)
            {
                inUse.Add(physical);
            }
        }

        foreach (var physical in doomed)
        {
            // What was idle has ended; nobody will bring it back.
            physical.IsRetired = !inUse.Contains(physical);
            parts.Physicals.Expire(physical);
        }

        resting.Sift();
    }

    private bool TryRenew(ServerHosts hosts, ServerDataSource host)
    {
        IReadOnlyList<PhysicalConnection> doomed = [];
        if (!hosts.TryRenew(host, parts.Settings.MaxSize, End))
        {
            return false;
        }

        parts.Recorder.Record(FlightEventKind.Cleared);
        if (hosts.IsSeveral)
        {
            Retire(doomed);
        }
        else
        {
            resting.VacateEnded();
        }

        return true;

        void End()
        {
            if (hosts.IsSeveral)
            {
                // The generation goes on: what lies at the other hosts is none of its business.
                doomed = parts.Physicals.At(host);
            }
            else
            {
                parts.Physicals.Advance();
            }
        }
    }
}
