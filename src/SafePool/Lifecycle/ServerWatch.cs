using Microsoft.Extensions.Logging;
using SafePool.Driver;
using SafePool.Leases;
using SafePool.Lifecycle.Failures;
using SafePool.Logging;

namespace SafePool.Lifecycle;

/// <summary>Hears when the server goes away, on a connection that is idle anyway, and retires everything idle before callers trip over it (<see cref="ConnectionPoolOptions.WatchServer"/>).</summary>
/// <remarks>
/// <para>
/// While nobody uses the pool one of its idle connections waits on its socket. It counts as idle; whoever needs it relieves it, which takes a tenth of a millisecond and says nothing to the
/// server. So the watch costs no session, has nothing to yield to a full server, and is subject to the same timeouts as those that it watches over. In a pool that is used the rents find out.
/// </para>
/// <para>
/// It is not set up on the last connection that a pool may have: callers who block all threads of the thread pool could then wait for the one that it needs to come back.
/// </para>
/// <para>Invariant: a place that watches ends in exactly one RestAndHandOn or Vacate, by whoever has relieved it.</para>
/// </remarks>
internal sealed class ServerWatch
{
    private readonly PoolParts _parts;
    private readonly RestingPlaces _resting;
    private readonly ConnectionOpener _opener;

    // The connection that listens holds it weakly.
    private readonly Action<Exception> _onLost;

    public ServerWatch(PoolParts parts, RestingPlaces resting, ConnectionOpener opener)
    {
        _parts = parts;
        _resting = resting;
        _opener = opener;
        _onLost = TryEnd;
    }

    /// <summary>Whether somebody should listen, and does not.</summary>
    public bool IsWanted
        => _parts.Settings.WatchServer && !_parts.Gate.HasWatch && _parts.Gate.Idle > 0 && _parts.Gate.Limit > 1 && _parts.Breaker.IsWell;

    /// <summary>Sets an idle connection to listen.</summary>
    /// <param name="slot">Its place, which the caller holds, with the connection in it; its session's reset has been sent.</param>
    /// <returns>False when somebody waits for it: it is the caller's again.</returns>
    public async ValueTask<bool> TryBeginAsync(LeaseSlot slot)
    {
        var watched = new WatchedConnection(_parts.Source, slot.Connection!, new WeakReference<Action<Exception>>(_onLost));
        watched.Listen();

        // Before the place is set to watch: whoever relieves it looks here.
        slot.Watched = watched;
        if (!_parts.Gate.TryBeginWatch(slot.Place))
        {
            await watched.StopAsync().ConfigureAwait(false);
            Forget(slot);
            return false;
        }

        if (watched.Error is { } error)
        {
            // It was lost before anybody could be told.
            TryEnd(error);
        }

        return true;
    }

    /// <summary>Gives the connection that listens to whoever waits, or back to the idle ones. Does nothing when none does.</summary>
    public void Relieve()
    {
        if (_parts.Gate.HasWatch)
        {
            // In nobody's context: what follows is the pool's own business.
            using (ExecutionContext.SuppressFlow())
            {
                _ = RelieveAsync();
            }
        }
    }

    /// <summary>The same for a caller who blocks, for no longer than <paramref name="longest"/>. False when none listened.</summary>
    public bool Relieve(TimeSpan longest)
    {
        if (!_parts.Gate.HasWatch)
        {
            return false;
        }

        Task relief;
        using (ExecutionContext.SuppressFlow())
        {
            relief = RelieveAsync();
        }

        relief.Wait(longest);
        return true;
    }

    /// <summary>The same, waiting until it is done. Never throws.</summary>
    public async Task RelieveAsync()
    {
        if (_parts.Gate.TryRelieve(out var place))
        {
            var slot = _parts.Ledger[place];
            await slot.Watched!.StopAsync().ConfigureAwait(false);
            Settle(slot, slot.Watched.Error);
        }
    }

    private void TryEnd(Exception error)
    {
        // Who has relieved it meanwhile finds out as well.
        if (_parts.Gate.TryRelieve(out var place))
        {
            End(_parts.Ledger[place], error);
        }
    }

    private void Settle(LeaseSlot slot, Exception? error)
    {
        if (error is not null)
        {
            End(slot, error);
            return;
        }

        Forget(slot);

        if (slot.Generation != _parts.Physicals.Generation)
        {
            // Npgsql ends it, because it was taken before a clear.
            if (_resting.TryRest(slot))
            {
                _parts.Gate.EndRelief();
                _resting.VacateLost(slot.Place);
                return;
            }
        }
        else
        {
            _resting.RestAndHandOn(slot);
        }

        _parts.Gate.EndRelief();
        _opener.Pump();
    }

    private static void Forget(LeaseSlot slot)
    {
        slot.Watched?.Dispose();
        slot.Watched = null;
    }

    /// <summary>The connection has broken. Npgsql has ended all that was idle beside it, so the pool counts anew, and opens with care.</summary>
    private void End(LeaseSlot slot, Exception error)
    {
        var (host, generation) = (_opener.HostOf(slot.Connection), slot.Generation);
        Forget(slot);
        _parts.Source.Close(slot.Connection!);
        slot.Reset();

        // Not if a lease broke first, or somebody cleared the pool: what there is now is newer than the loss then.
        if (!_parts.Gate.IsClosed && _opener.TryRetire(host, generation))
        {
            _parts.Recorder.Record(FlightEventKind.ServerLost);
            Log.ServerLost(_parts.Logger, _parts.Settings.Name, FatalErrors.Describe(error), error);
        }

        _parts.Gate.EndRelief();
        _resting.VacateLost(slot.Place);
        _parts.Loop.Wake();
    }
}
