using Npgsql;
using SafePool.Enlistments;
using SafePool.Leases;
using SafePool.Telemetry;

namespace SafePool.Connections;

/// <summary>The seam between the places of the gate and the connections that Npgsql keeps at rest: as many of these as of idle places, and any of them under any of those.</summary>
/// <remarks>
/// <para>Everybody who has held a place without making a lease of it brings it here: with its connection at rest, with one that is still open, or with the news that there was none.</para>
/// <para>
/// Invariant: each call ends in exactly one of idle, handed over, vacant, or in somebody else's care. A place under which nothing is at rest is vacated by who finds that out; a connection at rest under no place serves the next open, whose place
/// it then has.
/// </para>
/// </remarks>
internal sealed class RestingPlaces(PoolParts parts)
{
    /// <summary>Takes over a place whose connection, in the slot, must go: the returner's, which comes later.</summary>
    public required Action<LeaseSlot> Retire { get; init; }

    /// <summary>Opens another one where one is called for: the opener's, which comes later.</summary>
    public required Action Pump { get; init; }

    /// <summary>Gives up the watch, whose connection is idle too: the watch's, which comes later.</summary>
    public required Action Relieve { get; init; }

    /// <summary>Gives a place whose connection is at rest to whoever waits, or puts it among the idle.</summary>
    public void HandOn(LeaseSlot slot)
    {
        while (!parts.Gate.TryGiveBack(slot.Place))
        {
            if (parts.Gate.IsClosed)
            {
                // Npgsql has closed the connection instead of keeping it.
                parts.Physicals.CountClosed();
                parts.Gate.Vacate(slot.Place);
                return;
            }

            if (parts.Source.TryTakeOutside() is not { } connection)
            {
                VacateLost(slot.Place);
                return;
            }

            slot.Connection = connection;
            slot.Generation = parts.Physicals.Generation;
            var isHandedOver = parts.Gate.TryHandOver(slot.Place, out var isUnwanted);
            if (isUnwanted)
            {
                Retire(slot);
                return;
            }

            if (isHandedOver || !TryRest(slot, connection))
            {
                return;
            }
        }
    }

    /// <summary>Gives up a place whose connection is gone, and opens another one if somebody waits.</summary>
    public void Vacate(int place)
    {
        parts.Gate.Vacate(place);
        Pump();
    }

    /// <summary>The same for a place under which nothing is at rest: what was there has ended unseen.</summary>
    public void VacateLost(int place)
    {
        parts.Physicals.CountClosed();
        Vacate(place);
    }

    /// <summary>Puts a connection that was only looked at, in a place that is held, where it belongs.</summary>
    /// <returns>False when its close failed: the place is then looked after elsewhere.</returns>
    public bool RestAndHandOn(LeaseSlot slot, NpgsqlConnection connection)
    {
        if (!TryRest(slot, connection))
        {
            return false;
        }

        HandOn(slot);
        return true;
    }

    /// <summary>Closes a connection that nobody has used. False when that failed: the place is then looked after elsewhere.</summary>
    public bool TryRest(LeaseSlot slot, NpgsqlConnection connection)
    {
        try
        {
            parts.Source.Close(connection);
            slot.Reset();
            return true;
        }
        catch (Exception error)
        {
            slot.Prepare(site: default, options: null);
            Log.ReturnFailed(parts.Logger, parts.Settings.Name, slot.Site.ToString(), error);
            slot.Connection = connection;
            Retire(slot);
            return false;
        }
    }

    /// <summary>Vacates as many idle places as there are connections missing under them, after some were ended; what is at rest elsewhere stays.</summary>
    public void Sift()
    {
        List<(LeaseSlot Slot, NpgsqlConnection Connection)> kept = [];
        try
        {
            while (parts.Gate.TryTake(out var place))
            {
                if (parts.Source.TryTakeOutside() is { } connection)
                {
                    kept.Add((parts.Ledger[place], connection));
                }
                else
                {
                    VacateLost(place);
                }
            }
        }
        finally
        {
            foreach (var (slot, connection) in kept)
            {
                RestAndHandOn(slot, connection);
            }
        }
    }

    /// <summary>Ends all that is at rest now.</summary>
    public void Empty()
    {
        parts.Source.Clear();
        VacateEnded();
    }

    /// <summary>Vacates the idle places under which nothing is at rest, after a clear.</summary>
    public void VacateEnded()
    {
        Relieve();
        for (var rest = parts.Gate.Idle; rest > 0 && parts.Gate.TryTake(out var place); rest--)
        {
            if (parts.Source.TryTakeOutside() is { } survivor)
            {
                // Opened after the clear, by somebody else.
                RestAndHandOn(parts.Ledger[place], survivor);
            }
            else
            {
                VacateLost(place);
            }
        }
    }
}
