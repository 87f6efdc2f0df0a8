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
    // One that has just come to rest is met once; three times in a row nobody gave it back in between.
    private const int MostFoundInARow = 3;

    private readonly PoolParts _parts;
    private readonly CancellationTokenSource _closing = new();
    private readonly Connector _connector;
    private readonly Outage _outage;
    private int _rearranged;
    private int _foundInARow;

    public ConnectionOpener(PoolParts parts)
    {
        _parts = parts;
        _outage = new Outage(parts);
        _connector = new Connector(parts, (slot, connection) => RestAndHandOn(slot, connection), _closing.Token);
    }

    /// <summary>How often an open has moved a connection at rest to the end of Npgsql's queue, unseen by the gate. Grows after that was done.</summary>
    public int Rearranged => Volatile.Read(ref _rearranged);

    /// <summary>Whether an open may have set aside in this instant what is idle.</summary>
    public bool IsSettingAside => _connector.IsSettingAside;

    /// <summary>Takes over a place whose connection, in the slot, must go: the returner's, which comes after the opener.</summary>
    public required Action<LeaseSlot> Retire { get; init; }

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
        EmptyIdle();
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
            EmptyIdle();
        }

        return isFirst;
    }

    /// <summary>Gives a place whose connection is at rest to whoever waits, or puts it among the idle.</summary>
    public void HandOn(LeaseSlot slot)
    {
        while (!_parts.Gate.TryGiveBack(slot.Place))
        {
            if (_parts.Gate.IsClosed)
            {
                // Npgsql has closed the connection instead of keeping it.
                _parts.Physicals.CountClosed();
                _parts.Gate.Vacate(slot.Place);
                return;
            }

            if (_parts.Source.TryTakeOutside() is not { } connection)
            {
                VacateLost(slot.Place);
                return;
            }

            slot.Connection = connection;
            slot.Generation = _parts.Physicals.Generation;
            var isHandedOver = _parts.Gate.TryHandOver(slot.Place, out var isUnwanted);
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
        _parts.Gate.Vacate(place);
        Pump();
    }

    /// <summary>The same for a place under which nothing is at rest: what was there has ended unseen.</summary>
    public void VacateLost(int place)
    {
        _parts.Physicals.CountClosed();
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

    /// <summary>Cancels the opens that are under way.</summary>
    public void Dispose() => _closing.Cancel();

    /// <summary>Closes a connection that nobody has used. False when that failed: the place is then looked after elsewhere.</summary>
    public bool TryRest(LeaseSlot slot, NpgsqlConnection connection)
    {
        try
        {
            _parts.Source.Close(connection);
            slot.Reset();
            return true;
        }
        catch (Exception error)
        {
            slot.Prepare(site: default, options: null);
            Log.ReturnFailed(_parts.Logger, _parts.Settings.Name, slot.Site.ToString(), error);
            slot.Connection = connection;
            Retire(slot);
            return false;
        }
    }

    private void EmptyIdle()
    {
        _parts.Source.Clear();
        for (var rest = _parts.Gate.Idle; rest > 0 && _parts.Gate.TryTake(out var place); rest--)
        {
            if (_parts.Source.TryTakeOutside() is { } survivor)
            {
                // Opened after the clear, by somebody else.
                RestAndHandOn(_parts.Ledger[place], survivor);
            }
            else
            {
                VacateLost(place);
            }
        }
    }

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
        }
        catch (Exception error)
        {
            Fail(place, blocking, error, connected: false);
            return error;
        }

        if (opened.Failure is { } failure)
        {
            Fail(place, blocking, failure, connected: true);
            Discard(_parts.Ledger[place], opened);
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
        Settle(_parts.Ledger[place], opened, blocking);
        Pump();
        return null;
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

    /// <summary>Gets rid of a connection that nobody may have, in whatever state it was left. Its place is free when it is surely gone.</summary>
    private void Discard(LeaseSlot slot, OpenedConnection opened)
    {
        slot.Prepare(new RentSite(nameof(ConnectionPoolOptions.PhysicalConnectionOpened), "(open)", 0), options: null);
        slot.Connection = opened.Connection;
        slot.Generation = opened.Physical.Generation;
        Retire(slot);
    }

    private void Settle(LeaseSlot slot, OpenedConnection opened, bool blocking)
    {
        slot.Connection = opened.Connection;
        slot.Generation = opened.Physical.Generation;
        var isStale = _parts.Gate.IsClosed || slot.Generation != _parts.Physicals.Generation;
        if (opened.IsNew)
        {
            Volatile.Write(ref _foundInARow, 0);
        }
        else
        {
            // It lay at rest under another place, where it will be missed: but it has not ended.
            _parts.Physicals.CountClosed(-1);
        }

        if (_parts.Gate.OpenSucceeded(slot.Place, blocking, handOver: !isStale) || !TryRest(slot, opened.Connection))
        {
            return;
        }

        if (isStale && !_parts.Gate.IsClosed && _parts.Source.TryTakeOutside() is { } kept)
        {
            // Npgsql has not ended it: the clear came just before it began to open.
            RestAndHandOn(slot, kept);
            Interlocked.Increment(ref _rearranged);
        }
        else if (isStale)
        {
            _parts.Physicals.CountClosed();
            _parts.Gate.Vacate(slot.Place);
        }
        else if (opened.IsNew || IsUnderNoPlace())
        {
            HandOn(slot);
        }
        else
        {
            // It had just come to rest under a place of its own, and lies there again: nothing was added, also when the pool was to grow.
            Interlocked.Increment(ref _rearranged);
            _parts.Physicals.CountClosed();
            _parts.Gate.Vacate(slot.Place);
        }
    }

    /// <summary>
    /// Whether what openers keep finding at rest has lost its place: another may have looked there in the instant in which an opener had it in hand. It gets one again then, or nothing could be added any more.
    /// If it had one after all, that will be found empty.
    /// </summary>
    private bool IsUnderNoPlace()
    {
        if (Interlocked.Increment(ref _foundInARow) < MostFoundInARow)
        {
            return false;
        }

        Volatile.Write(ref _foundInARow, 0);
        return true;
    }
}
