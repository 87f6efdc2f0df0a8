using Npgsql;

namespace SafePool.Driver.Hosts;

/// <summary>Takes what is at rest from one of several hosts.</summary>
/// <remarks>
/// Places are not bound to hosts: a place stands for one connection at rest, wherever that is. So a take goes over the hosts until one yields, those first of which it is known that something
/// lies there, the better role before the other, in turn where the load is balanced. All are asked before it is said that there is none, and asked again if one came to rest meanwhile: at a host that had been asked already,
/// perhaps, while the one that this place stood for went to the place of that one. So whoever has a place finds what lies under it; each round more is somebody else's return.
/// </remarks>
internal static class HostTakes
{
    private const int Most = 64;

    public static NpgsqlConnection? TryTake(ServerHosts hosts, Func<NpgsqlConnection, NpgsqlConnection?> take)
    {
        var start = hosts.IsBalanced ? hosts.NextTurn() : 0;
        while (true)
        {
            var arrivals = hosts.Arrivals;
            var tried = 0UL;
            var taken = Go(hosts, take, start, HostFit.Preferred, knownOnly: true, ref tried)
                ?? Go(hosts, take, start, HostFit.Wrong, knownOnly: true, ref tried)
                ?? Go(hosts, take, start, HostFit.Wrong, knownOnly: false, ref tried);
            if (taken is not null || hosts.Arrivals == arrivals)
            {
                return taken;
            }
        }
    }

    public static NpgsqlConnection? TryTakeAt(ServerDataSource host, Func<NpgsqlConnection, NpgsqlConnection?> take)
    {
        var taken = take(host.Current.CreateConnection());
        if (taken is null)
        {
            host.NoteEmpty();
        }
        else
        {
            host.NoteTaken();
        }

        return taken;
    }

    /// <summary>The host that an object is best bound to which will be opened later.</summary>
    public static ServerDataSource First(ServerHosts hosts)
    {
        if (hosts.Only is { } only)
        {
            return only;
        }

        var start = hosts.IsBalanced ? hosts.NextTurn() : 0;
        ServerDataSource? best = null;
        for (var step = 0; step < hosts.All.Count; step++)
        {
            var host = hosts.All[(start + step) % hosts.All.Count];
            best = best is null || Score(host) < Score(best) ? host : best;
        }

        return best!;

        int Score(ServerDataSource host) => (host.AtRest > 0 ? 0 : 8) + (host.Standing.IsDoubted ? 4 : 0) + (int)host.Standing.Role.FitFor(hosts.Target);
    }

    private static NpgsqlConnection? Go(
        ServerHosts hosts, Func<NpgsqlConnection, NpgsqlConnection?> take, int start, HostFit worst, bool knownOnly, ref ulong tried)
    {
        for (var step = 0; step < hosts.All.Count; step++)
        {
            var host = hosts.All[(start + step) % hosts.All.Count];
            var mark = host.Index < Most ? 1UL << host.Index : 0;
            if ((tried & mark) != 0 || (knownOnly && (host.AtRest == 0 || host.Standing.Role.FitFor(hosts.Target) > worst)))
            {
                continue;
            }

            tried |= mark;
            if (TryTakeAt(host, take) is { } taken)
            {
                return taken;
            }
        }

        return null;
    }
}
