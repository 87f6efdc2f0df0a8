using System.Diagnostics.CodeAnalysis;
using SafePool.Driver;
using SafePool.Driver.Hosts;
using SafePool.Leases;
using SafePool.Logging;

namespace SafePool.Lifecycle;

/// <summary>The seam between the places of the gate and the connections that Npgsql keeps at rest: as many of these as of idle places, and any of them under any of those.</summary>
/// <remarks>
/// <para>Everybody who has held a place without making a lease of it brings it here: with its connection at rest, with one that is still open, or with the news that there was none.</para>
/// <para>
/// Invariant: each call ends in exactly one of idle, handed over, vacant, or in somebody else's care. A place under which nothing is at rest is vacated by who finds that out; a connection at rest under no place serves the next open, whose place
/// it then has.
/// </para>
/// <para>What the pool itself wants while nothing is idle, the next place that is handed on serves (<see cref="ReturnCalls"/>), before those who wait.</para>
/// </remarks>
internal sealed class RestingPlaces(PoolParts parts)
{
    private readonly ReturnCalls _calls = new();

    /// <summary>Takes over a place whose connection, in the slot, must go: the returner's, which comes later.</summary>
    public required Action<LeaseSlot> Retire { get; init; }

    /// <summary>Opens another one where one is called for: the opener's, which comes later.</summary>
    public required Action Pump { get; init; }

    /// <summary>Gives up the watch, whose connection is idle too: the watch's, which comes later.</summary>
    public required Action Relieve { get; init; }

    /// <summary>Gives a place whose connection is at rest to whoever waits, or puts it among the idle.</summary>
    public void HandOn(LeaseSlot slot)
    {
        parts.Source.NoteHandedOn();
        if (_calls.HasAny && TryAnswerCall(slot))
        {
            return;
        }

        while (!parts.Gate.TryGiveBackClaimed(slot.Place))
        {
            if (parts.Gate.IsClosed)
            {
                // Npgsql has closed the connection instead of keeping it, unless somebody has found it at rest.
                parts.Physicals.CountMissing();
                parts.Gate.Vacate(slot.Place);
                return;
            }

            if (parts.Source.TryTake() is not { } connection)
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

            if (isHandedOver || !TryRest(slot))
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
        parts.Physicals.CountMissing();
        Vacate(place);
    }

    /// <summary>Takes what is idle, for the pool itself: the place is then held, with its connection in it. False when nothing is idle.</summary>
    /// <remarks>An idle place under which nothing is at rest is vacated on the way. In no transaction of anybody's.</remarks>
    /// <param name="slot">The place: it ends in <see cref="RestAndHandOn"/>, or in a return.</param>
    /// <param name="host">Where the connection is to be; null for wherever it is. What is idle may be elsewhere: then false too.</param>
    public bool TryTakeIdle([NotNullWhen(true)] out LeaseSlot? slot, ServerDataSource? host = null)
    {
        while (parts.Gate.TryTake(out var place))
        {
            slot = parts.Ledger[place];
            slot.Connection = parts.Source.TryTake(host: host);

            // Read after the take: a clear in between makes the return count a connection that Npgsql has closed, which the next taker finds out.
            slot.Generation = parts.Physicals.Generation;
            if (slot.Connection is not null)
            {
                slot.Prepare(site: default, options: null);
                return true;
            }

            if (host is not null)
            {
                // It stands for one at another host; or its next taker finds out.
                HandOn(slot);
                break;
            }

            VacateLost(place);
        }

        slot = null;
        return false;
    }

    /// <summary>The same; in a pool that is fully used what comes back next, if something does within a second. Null when there is nothing.</summary>
    /// <remarks>While something is idle, at another host perhaps, nothing is waited for: the next look may find it.</remarks>
    public async ValueTask<LeaseSlot?> TakeAsync(ServerDataSource? host = null)
    {
        if (TryTakeIdle(out var slot, host))
        {
            return slot;
        }

        if (parts.Gate.Read() is not { Idle: 0, Leased: > 0, IsPaused: false })
        {
            return null;
        }

        using var call = _calls.Begin(host);
        parts.Physicals.NoteAwaited(1);
        try
        {
            return await parts.Clock.WaitAsync(call.Answer, ReturnCalls.Patience, CancellationToken.None).ConfigureAwait(false);
        }
        catch (TimeoutException)
        {
            return call.TryAnswer(slot: null) ? null : await call.Answer.ConfigureAwait(false);
        }
        finally
        {
            parts.Physicals.NoteAwaited(-1);
        }
    }

    /// <summary>Puts a connection that was only looked at, in a place that is held, where it belongs.</summary>
    /// <returns>False when its close failed: the place is then looked after elsewhere.</returns>
    public bool RestAndHandOn(LeaseSlot slot)
    {
        if (!TryRest(slot))
        {
            return false;
        }

        HandOn(slot);
        return true;
    }

    /// <summary>Gives a place whose connection is at rest to who has called for one. False when nobody wants it, and it is the caller's still.</summary>
    private bool TryAnswerCall(LeaseSlot slot)
    {
        foreach (var call in _calls.All)
        {
            if (call.Answer.IsCompleted || parts.Gate.IsClosed || parts.Source.TryTake(host: call.Host) is not { } connection)
            {
                continue;
            }

            slot.Connection = connection;
            slot.Generation = parts.Physicals.Generation;
            slot.Prepare(site: default, options: null);
            if (call.TryAnswer(slot) || !TryRest(slot))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>Closes the connection in a place that is held, which nobody has used. False when that failed: the place is then looked after elsewhere.</summary>
    public bool TryRest(LeaseSlot slot)
    {
        var connection = slot.Connection!;
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
        List<LeaseSlot> kept = [];
        try
        {
            while (TryTakeIdle(out var slot))
            {
                kept.Add(slot);
            }
        }
        finally
        {
            foreach (var slot in kept)
            {
                RestAndHandOn(slot);
            }
        }
    }

    /// <summary>Ends all that is at rest now.</summary>
    /// <param name="renews">As <see cref="IConnectionSource.Clear"/>.</param>
    public void Empty(bool renews = false)
    {
        parts.Source.Clear(renews);
        VacateEnded();
    }

    /// <summary>Vacates the idle places under which nothing is at rest, after a clear.</summary>
    public void VacateEnded()
    {
        Relieve();
        for (var rest = parts.Gate.Idle; rest > 0 && TryTakeIdle(out var survivor); rest--)
        {
            // Opened after the clear, by somebody else.
            RestAndHandOn(survivor);
        }
    }
}
