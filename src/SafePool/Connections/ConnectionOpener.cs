using Microsoft.Extensions.Logging;
using Npgsql;
using SafePool.Admission;
using SafePool.Breaker;
using SafePool.Diagnostics;
using SafePool.Enlistments;
using SafePool.Leases;
using SafePool.Telemetry;

namespace SafePool.Connections;

/// <summary>Opens connections, a limited number at a time, on the pool's own account: an open outlives whoever asked for it.</summary>
/// <remarks>
/// <para>
/// What an open brings goes to the first waiter, or to rest. What it fails with, if waiting cannot cure it, goes to the first waiter. Everything else is
/// tried again, one open at a time, after pauses that the <see cref="CircuitBreaker"/> sets; who waits goes on doing so until it opens.
/// </para>
/// </remarks>
internal sealed class ConnectionOpener : IDisposable
{
    private readonly PoolParts _parts;
    private readonly RestingPlaces _resting;
    private readonly CancellationTokenSource _closing = new();
    private readonly Connector _connector;
    private readonly OpenSettlement _settlement;
    private readonly Outage _outage;

    public ConnectionOpener(PoolParts parts, RestingPlaces resting)
    {
        _parts = parts;
        _resting = resting;
        _outage = new Outage(parts);
        _settlement = new OpenSettlement(parts, resting);
        _connector = new Connector(parts, resting, _closing.Token);
    }

    /// <inheritdoc cref="OpenSettlement.Rearranged"/>
    public int Rearranged => _settlement.Rearranged;

    /// <summary>Whether an open may have set aside in this instant what is idle.</summary>
    public bool IsSettingAside => _connector.IsSettingAside;

    private int OpensAllowed => _parts.Breaker.OpensAllowed(_parts.Settings.MaxConcurrentOpens);

    /// <summary>Starts as many opens as demand calls for and limits allow, and whatever an outage has made due.</summary>
    public void Pump()
    {
        if (_parts.Breaker.IsWell && !_parts.Room.IsFull && !_parts.Gate.HasVacant)
        {
            // A full pool: every rent that waits comes by here.
            return;
        }

        _outage.TripIfDue();
        if (_parts.Breaker.TryBeginProbe())
        {
            Probe();
        }

        _parts.Room.TryForOneMore();
        while (_parts.Gate.TryBeginOpen(OpensAllowed, out var place, out var blocking))
        {
            Start(place, blocking);
        }
    }

    /// <summary>The same at every tick while opens fail: then one is tried now and then, whether or not anybody waits for it.</summary>
    public void RideThrough()
    {
        Pump();
        if (_parts.Breaker.IsFailing && _parts.Gate.TryBeginFill(int.MaxValue, Math.Min(1, OpensAllowed), out var place))
        {
            Start(place, blocking: false, growing: true);
        }
    }

    /// <summary>Starts one open for a caller who will not wait for it.</summary>
    public void OpenSpeculatively()
    {
        var counts = _parts.Gate.Read();
        if (counts.Opening == 0 && _parts.Gate.TryBeginFill(counts.Places - counts.Vacant + 1, OpensAllowed, out var place))
        {
            Start(place, blocking: false);
        }
    }

    /// <summary>Opens one connection if fewer than <paramref name="minimum"/> exist. Null when there are enough, or no open may start now.</summary>
    /// <returns>A task that ends with the error of the open, or null when it succeeded.</returns>
    public Task<Exception?>? Fill(int minimum)
    {
        if (!_parts.Gate.TryBeginFill(minimum, OpensAllowed, out var place))
        {
            return null;
        }

        using (ExecutionContext.SuppressFlow())
        {
            return Task.Run(() => OpenAsync(place, blocking: false, growing: true));
        }
    }

    /// <summary>Retires every connection: the idle ones now, the leased ones when they come back.</summary>
    public void RetireAll()
    {
        // The generation first: what is leased in between then counts as at rest when it comes back, though Npgsql closes it, and the next taker
        // finds out. The other way round there could be one at rest that nobody counts.
        _parts.Physicals.Advance();
        _outage.Forget();
        _resting.Empty();
        Pump();
        _parts.Recorder.Record(FlightEventKind.Cleared);
        Log.Cleared(_parts.Logger, _parts.Settings.Name);
    }

    /// <summary>The same after a sign that the server has gone, unless it was done since <paramref name="generation"/>.</summary>
    public bool TryRetireAll(int generation)
    {
        var isFirst = _parts.Physicals.TryAdvance(generation);
        if (isFirst)
        {
            // Before any place is vacant: the next open finds out, alone, whether it has.
            _parts.Breaker.Suspect();
            _resting.Empty();
        }

        return isFirst;
    }

    /// <summary>The same for the host of one connection, where there are several: what lies at the others is none of its business.</summary>
    /// <param name="slot">The place, with the connection that broke.</param>
    public bool TryRetireWith(LeaseSlot slot)
        => _parts.Source.Hosts is { IsSeveral: true } hosts
            && (hosts.Of(slot.Connection) ?? slot.Enlistment?.Physical?.Server) is { } host
                ? host.TryNoteLoss(slot.PresentLeaseId != 0 ? slot.RentedAt : _parts.Clock.Exact, _parts.Clock.Exact) && RetireAt(host)
                : TryRetireAll(slot.Generation);

    /// <summary>The same after a sign that the server of the newest connections has gone.</summary>
    public bool TryRetireNewest(int generation)
        => _parts.Source.Hosts is { IsSeveral: true } hosts
            ? hosts.Newest is { } host && host.TryNoteLoss(_parts.Clock.Exact, _parts.Clock.Exact) && RetireAt(host)
            : TryRetireAll(generation);

    /// <summary>Retires what leads to one host: what is idle now, what is leased when it comes back. The generation goes on.</summary>
    public bool RetireAt(ServerDataSource host)
    {
        var doomed = _parts.Physicals.At(host);
        host.Clear();
        var inUse = new HashSet<PhysicalConnection>();
        foreach (var slot in _parts.Ledger.Slots)
        {
            if (slot.Connection is { } connection && _parts.Source.Identify(connection) is { } physical)
            {
                inUse.Add(physical);
            }
        }

        foreach (var physical in doomed)
        {
            // What was idle has ended; nobody will bring it back.
            physical.IsRetired = !inUse.Contains(physical);
            _parts.Physicals.Expire(physical);
        }

        _resting.Sift();
        Pump();
        return true;
    }

    /// <summary>Cancels the opens that are under way.</summary>
    public void Dispose() => _closing.Cancel();

    private void Probe()
    {
        if (_parts.Gate.TryBeginFill(int.MaxValue, most: 1, out var place))
        {
            Start(place, blocking: false, growing: true);
        }
        else
        {
            _parts.Breaker.PutOffProbe();
        }
    }

    private void Start(int place, bool blocking, bool growing = false)
    {
        if (blocking)
        {
            // Callers block on this one, perhaps all threads of the pool: it must not need one.
            var thread = new Thread(() => OpenAsync(place, blocking: true, growing: false).GetAwaiter().GetResult())
            {
                IsBackground = true,
                Name = $"SafePool '{_parts.Settings.Name}' open",
            };
            thread.UnsafeStart();
        }
        else
        {
            // Unsafe: without the requester's ExecutionContext, which is nobody's business here.
            ThreadPool.UnsafeQueueUserWorkItem(
                static state => _ = state.Opener.OpenAsync(state.Place, blocking: false, state.Growing),
                (Opener: this, Place: place, Growing: growing),
                preferLocal: false);
        }
    }

    /// <summary>One open, from beginning to end. Never throws.</summary>
    private async Task<Exception?> OpenAsync(int place, bool blocking, bool growing)
    {
        OpenedConnection opened;
        _parts.Opens.Began(place);
        _parts.Recorder.Record(FlightEventKind.OpenBegan, place);
        try
        {
            opened = await _connector.ConnectAsync(blocking, growing).ConfigureAwait(false);
            RetireIfPathMoved();
        }
        catch (Exception error)
        {
            Fail(place, blocking, error, connected: false);
            return error;
        }

        if (opened.Failure is { } failure)
        {
            Fail(place, blocking, failure, connected: true);
            _settlement.Discard(_parts.Ledger[place], opened);
            return failure;
        }

        if (opened.IsNew)
        {
            _outage.Succeeded();
            _parts.Opens.Succeeded(place);
        }
        else
        {
            _parts.Opens.FoundOneAtRest(place);
        }

        _parts.Recorder.Record(FlightEventKind.Opened, place);
        _settlement.Settle(_parts.Ledger[place], opened, blocking);
        Pump();
        return null;
    }

    /// <summary>What stands between the pool and its server is something else now: what was opened before was not made for it.</summary>
    private void RetireIfPathMoved()
    {
        if (_parts.Path.TryTakeMove())
        {
            _parts.Physicals.Advance();
            _resting.Empty();
            Log.PathMoved(_parts.Logger, _parts.Settings.Name);
        }
    }

    private void Fail(int place, bool blocking, Exception error, bool connected)
    {
        var begunAt = _parts.Opens.BegunAt(place);
        _parts.Opens.Failed(place, error);
        _parts.Recorder.Record(FlightEventKind.OpenFailed, place);
        Log.OpenFailed(_parts.Logger, _parts.Settings.Name, error);
        var counts = _parts.Gate.OpenFailed(place, blocking, _outage.IsRiddenThrough(error) ? null : error, connected);
        if (!_closing.IsCancellationRequested)
        {
            _outage.Failed(error, begunAt, counts);
        }

        Pump();
    }
}
