using Microsoft.Extensions.Logging;
using Npgsql;
using SafePool.Breaker;
using SafePool.Driver;
using SafePool.Driver.Hosts;
using SafePool.Leases;
using SafePool.Logging;

namespace SafePool.Lifecycle;

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
    private readonly DriverRenewal _renewal;
    private readonly Outage _outage;

    public ConnectionOpener(PoolParts parts, RestingPlaces resting)
    {
        _parts = parts;
        _resting = resting;
        _outage = new Outage(parts);
        _settlement = new OpenSettlement(parts, resting);
        _connector = new Connector(parts, resting);
        _renewal = new DriverRenewal(parts, resting);
    }

    /// <inheritdoc cref="OpenSettlement.Rearranged"/>
    public int Rearranged => _settlement.Rearranged;

    /// <summary>Whether an open may have set aside in this instant what is idle.</summary>
    public bool IsSettingAside => _connector.IsSettingAside;

    private int OpensAllowed => _parts.Breaker.OpensAllowed(_parts.Settings.MaxConcurrentOpens);

    /// <summary>Starts as many opens as demand calls for and limits allow, and whatever an outage has made due.</summary>
    public void Pump()
    {
        if (_parts.Breaker.IsWell && !_parts.Room.IsFull && !_parts.Gate.HasRoom)
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
            Start(place, blocking: false, probes: true);
        }
    }

    /// <summary>Starts one open for a caller who will not wait for it.</summary>
    public void OpenSpeculatively()
    {
        var counts = _parts.Gate.Read();
        if (counts.Opening == 0 && _parts.Gate.TryBeginFill(counts.Existing + 1, OpensAllowed, out var place))
        {
            Start(place, blocking: false);
        }
    }

    /// <summary>Opens one connection if fewer than <paramref name="minimum"/> exist. Null when there are enough, or no open may start now.</summary>
    /// <returns>A task that ends with the error of the open, or null when it succeeded.</returns>
    public Task<Exception?>? Fill(int minimum)
    {
        if (_parts.Room.IsFull && _parts.Gate.Read().Existing < minimum)
        {
            _parts.Room.TryForOneMore();
        }

        if (!_parts.Gate.TryBeginFill(minimum, OpensAllowed, out var place))
        {
            return null;
        }

        using (ExecutionContext.SuppressFlow())
        {
            var attempt = Attempt(place, blocking: false);
            _ = Task.Run(() => OpenAsync(attempt, growing: true, probes: false));
            return attempt.Outcome;
        }
    }

    /// <summary>Retires every connection: the idle ones now, the leased ones when they come back.</summary>
    public void RetireAll()
    {
        // The generation first: what is leased in between then counts as at rest when it comes back, though Npgsql closes it, and the next taker
        // finds out. The other way round there could be one at rest that nobody counts.
        _parts.Physicals.Advance();
        _outage.Forget();
        _resting.Empty(renews: true);
        Pump();
        _parts.Loop.Wake();
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
            _parts.Loop.Wake();
        }

        return isFirst;
    }

    /// <summary>Counts as gone what was idle of a generation that was cleared, and opens what is wanted.</summary>
    public void Replace()
    {
        _resting.VacateEnded();
        Pump();
    }

    /// <summary>The same for the host of one connection, where there are several: what lies at the others is none of its business.</summary>
    /// <param name="slot">The place, with the connection that broke.</param>
    public bool TryRetireWith(LeaseSlot slot)
        => _parts.Source.Hosts is { IsSeveral: true } hosts
            && (hosts.Of(slot.Connection) ?? slot.Enlistment?.Physical?.Server) is { } host
                ? host.TryNoteLoss(slot.PresentLeaseId != 0 ? slot.RentedAt : _parts.Clock.Exact, _parts.Clock.Exact) && RetireAt(host)
                : TryRetireAll(slot.Generation);

    /// <summary>The same for what nobody had leased.</summary>
    /// <param name="host">Where it was; null where there is one host.</param>
    /// <param name="generation">Of what was lost.</param>
    /// <param name="since">When the loss began, if that was not now: one that was noted after that is the same.</param>
    public bool TryRetire(ServerDataSource? host, int generation, long? since = null)
        => host is null ? TryRetireAll(generation) : host.TryNoteLoss(since ?? _parts.Clock.Exact, _parts.Clock.Exact) && RetireAt(host);

    /// <summary>The host of a connection where there are several; null otherwise.</summary>
    public ServerDataSource? HostOf(NpgsqlConnection? connection)
        => _parts.Source.Hosts is { IsSeveral: true } hosts ? hosts.Of(connection) : null;

    /// <summary>Retires what leads to one host: what is idle now, what is leased when it comes back. The generation goes on.</summary>
    public bool RetireAt(ServerDataSource host)
    {
        var doomed = _parts.Physicals.At(host);
        host.Clear();
        _renewal.Retire(doomed);
        Pump();
        return true;
    }

    /// <summary>Cancels the opens that are under way.</summary>
    public void Dispose() => _closing.Cancel();

    private void Probe()
    {
        if (_parts.Gate.TryBeginFill(int.MaxValue, most: 1, out var place))
        {
            Start(place, blocking: false, probes: true);
        }
        else
        {
            _parts.Breaker.PutOffProbe();
        }
    }

    private void Start(int place, bool blocking, bool probes = false)
    {
        var attempt = Attempt(place, blocking);
        if (blocking)
        {
            // Callers block on this one, perhaps all threads of the pool: it must not need one.
            var thread = new Thread(() => OpenAsync(attempt, growing: false, probes: false).GetAwaiter().GetResult())
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
                static state => _ = state.Opener.OpenAsync(state.Attempt, state.Probes, state.Probes),
                (Opener: this, Attempt: attempt, Probes: probes),
                preferLocal: false);
        }
    }

    private OpenAttempt Attempt(int place, bool blocking) => new(_parts.Settings, _parts.Clock, place, blocking, GiveUp, _closing.Token);

    /// <summary>One open, from beginning to end, though it may have been given up meanwhile. Never throws.</summary>
    private async Task OpenAsync(OpenAttempt attempt, bool growing, bool probes)
    {
        _parts.Opens.Began(attempt.Place);
        _parts.Recorder.Record(FlightEventKind.OpenBegan, attempt.Place);
        attempt.Watch();
        using var end = attempt;
        OpenedConnection? opened = null;
        Exception? failure;
        try
        {
            if (_renewal.TryRenewWorn())
            {
                Pump();
            }

            opened = await _connector.ConnectAsync(attempt, growing).ConfigureAwait(false);
            failure = opened.Value.Failure;
            RetireIfPathMoved();
        }
        catch (Exception error)
        {
            failure = error;
        }

        if (!attempt.TryEnd())
        {
            await EndLateAsync(attempt, opened, failure).ConfigureAwait(false);
        }
        else if (failure is null)
        {
            Succeed(attempt, opened!.Value, probes);
        }
        else
        {
            Fail(attempt, attempt.Explain(failure), opened);
        }
    }

    private void Succeed(OpenAttempt attempt, OpenedConnection opened, bool probes)
    {
        var place = attempt.Place;
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
        _settlement.Settle(_parts.Ledger[place], opened, attempt.IsBlocking, isSpare: probes && _parts.Gate.Read().Existing > _parts.Settings.MinSize);
        Pump();
        attempt.Tell(error: null);
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

    /// <summary>It has not ended in time: its permit comes back, and its place, or what is in it goes first.</summary>
    private void GiveUp(OpenAttempt attempt) => Fail(attempt, attempt.OutOfTime(), attempt.InHand);

    private void Fail(OpenAttempt attempt, Exception error, OpenedConnection? connected)
    {
        var place = attempt.Place;
        var begunAt = _parts.Opens.BegunAt(place);
        _parts.Opens.Failed(place, error);
        _parts.Recorder.Record(FlightEventKind.OpenFailed, place);
        Log.OpenFailed(_parts.Logger, _parts.Settings.Name, error);
        var counts = _parts.Gate.OpenFailed(place, attempt.IsBlocking, _outage.IsRiddenThrough(error, connected is not null) ? null : error, connected is not null);
        if (!_closing.IsCancellationRequested)
        {
            _outage.Failed(error, begunAt, counts, connected is not null);
        }

        Pump();
        if (connected is { } unusable)
        {
            _settlement.Discard(_parts.Ledger[place], unusable);
        }

        attempt.Tell(error);
    }

    /// <summary>Nobody is interested any more, and the place is not its own.</summary>
    private async Task EndLateAsync(OpenAttempt attempt, OpenedConnection? opened, Exception? failure)
    {
        Log.OpenEndedLate(_parts.Logger, _parts.Settings.Name, failure);
        if (opened is { } late && attempt.InHand is null)
        {
            await _settlement.DiscardLateAsync(late).ConfigureAwait(false);
        }

        if (attempt.InHand is null)
        {
            attempt.NoteEndedLate();
        }
    }
}
