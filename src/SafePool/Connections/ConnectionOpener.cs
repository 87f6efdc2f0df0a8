using Microsoft.Extensions.Logging;
using Npgsql;
using SafePool.Admission;
using SafePool.Diagnostics;
using SafePool.Errors;
using SafePool.Leases;
using SafePool.Options;
using SafePool.Telemetry;

namespace SafePool.Connections;

/// <summary>Opens connections, a limited number at a time, on the pool's own account: an open outlives whoever asked for it.</summary>
/// <remarks>
/// <para>
/// What an open brings goes to the first waiter, or to rest. What it fails with goes to the first waiter; its place is vacant again, and
/// the next waiter may start another one.
/// </para>
/// <para>
/// Npgsql gives an opener a connection at rest if there is one. For demand that is rare (a return in the same moment) and right: the
/// connection serves a waiter all the same. To grow, all that is idle is set aside for the instant in which Npgsql decides.
/// </para>
/// </remarks>
internal sealed class ConnectionOpener(PoolParts parts) : IDisposable
{
    // When the server is full, an open now and then finds out whether it still is.
    private static readonly TimeSpan _fullPause = TimeSpan.FromSeconds(1);

    private readonly CancellationTokenSource _closing = new();
    private long _notBefore = long.MinValue;
    private int _rearranged;

    /// <summary>How often an open has moved a connection at rest to the end of Npgsql's queue, unseen by the gate. Grows after that was done.</summary>
    public int Rearranged => Volatile.Read(ref _rearranged);

    /// <summary>Takes over a place whose connection, in the slot, must go: the returner's, which comes after the opener.</summary>
    public required Action<LeaseSlot> Retire { get; init; }

    /// <summary>Starts as many opens as demand calls for and limits allow.</summary>
    public void Pump()
    {
        while (IsDue() && parts.Gate.TryBeginOpen(out var place, out var blocking))
        {
            Start(place, blocking);
        }
    }

    /// <summary>Starts one open for a caller who will not wait for it.</summary>
    public void OpenSpeculatively()
    {
        var counts = parts.Gate.Read();
        if (counts.Opening == 0 && parts.Gate.TryBeginFill(counts.Places - counts.Vacant + 1, out var place))
        {
            Start(place, blocking: false);
        }
    }

    /// <summary>Opens one connection if fewer than <paramref name="minimum"/> exist. Null when there are enough, or no open may start now.</summary>
    /// <returns>A task that ends with the error of the open, or null when it succeeded.</returns>
    public Task<Exception?>? Fill(int minimum)
    {
        if (!parts.Gate.TryBeginFill(minimum, out var place))
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
        parts.Physicals.Advance();
        EmptyIdle();
        parts.Recorder.Record(FlightEventKind.Cleared);
        Log.Cleared(parts.Logger, parts.Settings.Name);
    }

    /// <summary>The same, unless it was done since <paramref name="generation"/>.</summary>
    public bool TryRetireAll(int generation)
    {
        var isFirst = parts.Physicals.TryAdvance(generation);
        if (isFirst)
        {
            EmptyIdle();
        }

        return isFirst;
    }

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

            if (parts.Source.TryTake() is not { } connection)
            {
                Vacate(slot.Place);
                return;
            }

            slot.Connection = connection;
            slot.Generation = parts.Physicals.Generation;
            if (parts.Gate.TryHandOver(slot.Place) || !TryRest(slot, connection))
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
    private bool TryRest(LeaseSlot slot, NpgsqlConnection connection)
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

    private void EmptyIdle()
    {
        parts.Source.Clear();
        for (var rest = parts.Gate.Idle; rest > 0 && parts.Gate.TryTake(out var place); rest--)
        {
            if (parts.Source.TryTake() is { } survivor)
            {
                // Opened after the clear, by somebody else.
                RestAndHandOn(parts.Ledger[place], survivor);
            }
            else
            {
                parts.Physicals.CountClosed();
                Vacate(place);
            }
        }
    }

    private void Start(int place, bool blocking)
    {
        if (blocking)
        {
            // Callers block on this one, perhaps all threads of the pool: it must not need one.
            var thread = new Thread(() => OpenAsync(place, blocking: true, growing: false).GetAwaiter().GetResult())
            {
                IsBackground = true,
                Name = $"SafePool '{parts.Settings.Name}' open",
            };
            thread.UnsafeStart();
        }
        else
        {
            // Unsafe: without the requester's ExecutionContext, which is nobody's business here.
            ThreadPool.UnsafeQueueUserWorkItem(
                static state => _ = state.Opener.OpenAsync(state.Place, blocking: false, growing: false),
                (Opener: this, Place: place),
                preferLocal: false);
        }
    }

    /// <summary>One open, from beginning to end. Never throws.</summary>
    private async Task<Exception?> OpenAsync(int place, bool blocking, bool growing)
    {
        OpenedConnection opened;
        parts.Opens.Began(place);
        parts.Recorder.Record(FlightEventKind.OpenBegan, place);
        try
        {
            opened = await ConnectAsync(blocking, growing).ConfigureAwait(false);
        }
        catch (Exception error)
        {
            Fail(place, blocking, error, connected: false);
            return error;
        }

        if (opened.Failure is { } failure)
        {
            Fail(place, blocking, failure, connected: true);
            Discard(parts.Ledger[place], opened);
            return failure;
        }

        parts.Opens.Succeeded(place);
        parts.Recorder.Record(FlightEventKind.Opened, place);
        parts.Gate.OpenSucceeded(place, blocking);
        Settle(parts.Ledger[place], opened, growing);
        Pump();
        return null;
    }

    private void Fail(int place, bool blocking, Exception error, bool connected)
    {
        parts.Opens.Failed(place, error);
        parts.Recorder.Record(FlightEventKind.OpenFailed, place);
        Log.OpenFailed(parts.Logger, parts.Settings.Name, error);
        var isFull = SqlStates.IsServerFull(error);
        if (isFull)
        {
            Volatile.Write(ref _notBefore, parts.Clock.After(parts.Clock.Exact, _fullPause));
        }

        // A full server is cured by waiting: who waits goes on doing so, for a lease or for room. Everything else is told to the first waiter at once.
        parts.Gate.OpenFailed(place, blocking, isFull ? null : error, connected);
        Pump();
    }

    private bool IsDue() => Volatile.Read(ref _notBefore) is var due && (due == long.MinValue || parts.Clock.Exact >= due);

    /// <summary>Gets rid of a connection that nobody may have, in whatever state it was left. Its place is free when it is surely gone.</summary>
    private void Discard(LeaseSlot slot, OpenedConnection opened)
    {
        slot.Prepare(new RentSite(nameof(ConnectionPoolOptions.PhysicalConnectionOpened), "(open)", 0), options: null);
        slot.Connection = opened.Connection;
        slot.Generation = opened.Physical.Generation;
        Retire(slot);
    }

    private void Settle(LeaseSlot slot, OpenedConnection opened, bool growing)
    {
        slot.Connection = opened.Connection;
        slot.Generation = opened.Physical.Generation;
        var isStale = parts.Gate.IsClosed || slot.Generation != parts.Physicals.Generation;
        if ((!isStale && parts.Gate.TryHandOver(slot.Place)) || !TryRest(slot, opened.Connection))
        {
            return;
        }

        if (isStale && !parts.Gate.IsClosed && parts.Source.TryTake() is { } kept)
        {
            // Npgsql has not ended it: the clear came just before it began to open.
            RestAndHandOn(slot, kept);
            Interlocked.Increment(ref _rearranged);
        }
        else if (isStale)
        {
            parts.Physicals.CountClosed();
            parts.Gate.Vacate(slot.Place);
        }
        else if (opened.IsNew || growing)
        {
            HandOn(slot);
        }
        else
        {
            // It had just come to rest under a place of its own, and lies there again: nothing was added.
            Interlocked.Increment(ref _rearranged);
            parts.Gate.Vacate(slot.Place);
        }
    }

    private async ValueTask<OpenedConnection> ConnectAsync(bool blocking, bool growing)
    {
        if (blocking)
        {
            return await parts.Source.OpenAsync(blocking: true, CancellationToken.None).ConfigureAwait(false);
        }

        using var timeout = new CancellationTokenSource(parts.Settings.ConnectTimeout, parts.Time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(timeout.Token, _closing.Token);
        try
        {
            var opened = growing
                ? await OpenAside(either.Token).ConfigureAwait(false)
                : await parts.Source.OpenAsync(blocking: false, either.Token).ConfigureAwait(false);
            return opened.Failure is OperationCanceledException && IsOutOfTime() ? opened with { Failure = OutOfTime() } : opened;
        }
        catch (OperationCanceledException) when (IsOutOfTime())
        {
            throw OutOfTime();
        }

        bool IsOutOfTime() => timeout.IsCancellationRequested && !_closing.IsCancellationRequested;

        NpgsqlException OutOfTime()
            => new($"No connection was open within ConnectTimeout ({Sentences.Duration(parts.Settings.ConnectTimeout)}).", new TimeoutException());
    }

    private ValueTask<OpenedConnection> OpenAside(CancellationToken cancellationToken)
    {
        List<(LeaseSlot Slot, NpgsqlConnection Connection)> aside = [];
        try
        {
            while (parts.Gate.TryTake(out var place))
            {
                if (parts.Source.TryTake() is { } connection)
                {
                    aside.Add((parts.Ledger[place], connection));
                }
                else
                {
                    parts.Gate.Vacate(place);
                }
            }

            // By the time this returns Npgsql has found nothing at rest and begun to connect.
            return parts.Source.OpenAsync(blocking: false, cancellationToken);
        }
        finally
        {
            foreach (var (slot, connection) in aside)
            {
                RestAndHandOn(slot, connection);
            }
        }
    }
}
