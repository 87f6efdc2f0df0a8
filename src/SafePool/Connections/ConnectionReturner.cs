using System.Data;
using Microsoft.Extensions.Logging;
using Npgsql;
using SafePool.Admission;
using SafePool.Leases;
using SafePool.Options;
using SafePool.Telemetry;

namespace SafePool.Connections;

/// <summary>The careful way back, for every return that is not plain (design decision D4): closing is the dangerous half.</summary>
/// <remarks>
/// <para>
/// Npgsql loses a connection that is closed while a command runs on it, so what runs is cancelled first and waited for. What does not end
/// within <see cref="PoolSettings.ReturnPatience"/> is ended by the server, and its place is quarantined until the connection is surely gone.
/// </para>
/// <para>Invariant: every path ends in exactly one of HandOn, Vacate and Quarantine, whatever throws.</para>
/// </remarks>
internal sealed class ConnectionReturner(PoolParts parts, ConnectionOpener opener)
{
    private static readonly TimeSpan _firstLook = TimeSpan.FromMilliseconds(1);
    private static readonly TimeSpan _lastLook = TimeSpan.FromMilliseconds(50);

    private readonly List<Stuck> _stuck = [];

    /// <summary>Whether the session needs words with the server on every return.</summary>
    public bool HasCeremony { get; } = parts.Settings.LeaseReturning is not null || parts.Settings.Reset == SessionReset.Strict;

    /// <summary>Returns a settled lease whose place the caller holds. Completes synchronously when <paramref name="blocking"/>, but for busy connections.</summary>
    /// <param name="slot">The place, with the connection of the lease in it.</param>
    /// <param name="blocking">The caller blocks: a busy connection is then left to the background.</param>
    /// <param name="retire">The physical connection must not be used again.</param>
    public async ValueTask ReturnAsync(LeaseSlot slot, bool blocking, bool retire = false)
    {
        var connection = slot.Connection!;
        var site = slot.Site;
        if (IsBusy(connection))
        {
            Log.ReturnedBusy(parts.Logger, parts.Settings.Name, site.ToString(), parts.Source.StateOf(connection).ToString());
            if (blocking)
            {
                _ = Task.Run(() => ReturnBusyAsync(slot, connection, site, retire));
                return;
            }

            await ReturnBusyAsync(slot, connection, site, retire).ConfigureAwait(false);
            return;
        }

        await ReturnReadyAsync(slot, connection, site, retire, blocking).ConfigureAwait(false);
    }

    /// <summary>The end of a return whose connection its user has closed already.</summary>
    public void ReturnClosed(LeaseSlot slot) => Conclude(slot, IsStale(slot) ? CloseOutcome.Gone : CloseOutcome.AtRest);

    /// <summary>The end of a return whose close has failed.</summary>
    public async ValueTask RescueAsync(LeaseSlot slot, Exception error, bool blocking)
    {
        Log.ReturnFailed(parts.Logger, parts.Settings.Name, slot.Site.ToString(), error);
        Conclude(slot, await RetireAsync(slot.Connection!, blocking).ConfigureAwait(false));
    }

    /// <summary>The rest of a return whose close had something to say to the server.</summary>
    public async ValueTask FinishAsync(LeaseSlot slot, Task closing)
    {
        var connection = slot.Connection!;
        var site = slot.Site;
        Conclude(slot, await RestAsync(slot, connection, site, closing, leftOpen: true).ConfigureAwait(false));
    }

    /// <summary>Looks after what is quarantined; called by the maintenance loop.</summary>
    public void CheckQuarantine()
    {
        Stuck[] stuck;
        lock (_stuck)
        {
            stuck = [.. _stuck];
        }

        foreach (var one in stuck)
        {
            if (!one.Closing.IsCompleted)
            {
                continue;
            }

            _ = one.Closing.Exception; // Observed: how it ended is seen from the connection.

            if (!IsGone(one.Connection))
            {
                // Its command ended after all. Nobody waits for this connection any more, so it need not be saved.
                one.Closing = TryRetireAsync(one.Connection, blocking: false).AsTask();
                continue;
            }

            lock (_stuck)
            {
                _stuck.Remove(one);
            }

            parts.Physicals.CountClosed();
            parts.Gate.Release(one.Place);
            Log.QuarantineEnded(parts.Logger, parts.Settings.Name);
            opener.Pump();
        }
    }

    private async Task ReturnBusyAsync(LeaseSlot slot, NpgsqlConnection connection, RentSite site, bool retire)
    {
        var physical = parts.Source.Identify(connection);
        if (physical is not null)
        {
            // The cancel may arrive after what it was meant for: whoever gets this connection next absorbs it first.
            physical.NeedsFlush = true;
            parts.Physicals.RequireCare();
        }

        var ending = EndCommandAsync(connection);
        try
        {
            await ending.WaitAsync(PoolSettings.ReturnPatience, parts.Time).ConfigureAwait(false);
        }
        catch (TimeoutException)
        {
            await QuarantineAsync(slot, connection, site, ending).ConfigureAwait(false);
            return;
        }
        catch (Exception error)
        {
            Log.ReturnFailed(parts.Logger, parts.Settings.Name, site.ToString(), error);
        }

        await ReturnReadyAsync(slot, connection, site, retire, blocking: false).ConfigureAwait(false);
    }

    /// <summary>Cancels what runs until nothing does. A reader that is still open is closed with the connection: its query has ended, so that is short.</summary>
    private async Task EndCommandAsync(NpgsqlConnection connection)
    {
        await parts.Source.CancelAsync(connection).ConfigureAwait(false);

        // The command's own flow must end by itself; nothing tells when.
        for (var pause = _firstLook; (parts.Source.StateOf(connection) & ConnectionState.Executing) != 0; pause *= 2)
        {
            await Task.Delay(pause < _lastLook ? pause : _lastLook, parts.Time).ConfigureAwait(false);
        }

        if ((parts.Source.StateOf(connection) & ConnectionState.Fetching) != 0)
        {
            await CloseUntilClosedAsync(connection).ConfigureAwait(false);
        }
    }

    private async Task CloseUntilClosedAsync(NpgsqlConnection connection)
    {
        while (!IsGone(connection))
        {
            try
            {
                await parts.Source.CloseAsync(connection).ConfigureAwait(false);
            }
            catch (PostgresException cancelled) when (cancelled.SqlState == PostgresErrorCodes.QueryCanceled)
            {
                // The cancel came out of the close itself, and the connection is still open: once more.
            }
        }
    }

    private async ValueTask ReturnReadyAsync(LeaseSlot slot, NpgsqlConnection connection, RentSite site, bool retire, bool blocking)
    {
        CloseOutcome outcome;
        try
        {
            outcome = await CloseAsync(slot, connection, site, retire, blocking).ConfigureAwait(false);
        }
        catch (Exception error)
        {
            Log.ReturnFailed(parts.Logger, parts.Settings.Name, site.ToString(), error);
            outcome = await RetireAsync(connection, blocking).ConfigureAwait(false);
        }

        Conclude(slot, outcome);
    }

    private void Conclude(LeaseSlot slot, CloseOutcome outcome)
    {
        switch (outcome)
        {
            case CloseOutcome.AtRest:
                slot.Reset();
                opener.HandOn(slot);
                break;
            case CloseOutcome.Gone:
                slot.Reset();
                parts.Physicals.CountClosed();
                opener.Vacate(slot.Place);
                break;
        }
    }

    /// <summary>Brings a connection on which nothing runs to rest or to its end.</summary>
    private async ValueTask<CloseOutcome> CloseAsync(LeaseSlot slot, NpgsqlConnection connection, RentSite site, bool retire, bool blocking)
    {
        var stale = IsStale(slot);
        switch (parts.Source.StateOf(connection))
        {
            case ConnectionState.Broken:
                parts.Source.Close(connection);
                RetireElders(slot.Generation);
                return CloseOutcome.Gone;

            case ConnectionState.Closed:
                // The user closed it: it lies at rest, unless it had been broken, which the next taker finds out.
                return stale ? CloseOutcome.Gone : CloseOutcome.AtRest;
        }

        if (!stale)
        {
            retire |= parts.Source.Identify(connection) is { } physical && parts.Physicals.IsExpired(physical);
            if (retire || !await TryCeremonyAsync(slot, connection, blocking).ConfigureAwait(false))
            {
                return await RetireAsync(connection, blocking).ConfigureAwait(false);
            }
        }

        var leftOpen = blocking && IsOpen(slot.LastTransaction);
        var closing = blocking ? CloseBlocking(connection) : parts.Source.CloseAsync(connection);
        leftOpen |= !closing.IsCompleted;
        var outcome = await RestAsync(slot, connection, site, closing, leftOpen).ConfigureAwait(false);
        return stale && outcome == CloseOutcome.AtRest ? CloseOutcome.Gone : outcome;
    }

    private async ValueTask<bool> TryCeremonyAsync(LeaseSlot slot, NpgsqlConnection connection, bool blocking)
    {
        try
        {
            if (parts.Settings.LeaseReturning is { } hook)
            {
                await Hooks.RunAsync(hook, connection, blocking, CancellationToken.None).ConfigureAwait(false);
            }
        }
        catch (Exception error)
        {
            Log.HookFailed(parts.Logger, parts.Settings.Name, nameof(ConnectionPoolOptions.LeaseReturning), error);
            return false;
        }

        if (parts.Settings.Reset == SessionReset.Strict)
        {
            await parts.Source.UnprepareAllAsync(connection, blocking).ConfigureAwait(false);
        }
        else if (parts.Settings.Reset == SessionReset.Rollback && slot.Options?.StatementTimeout is not null)
        {
            await parts.Source.ExecuteAsync(connection, "ROLLBACK; RESET statement_timeout", blocking).ConfigureAwait(false);
        }

        return true;
    }

    /// <summary>Awaits Npgsql's own close. It talks to the server only to roll back a transaction, so if it takes time there was one.</summary>
    private async ValueTask<CloseOutcome> RestAsync(LeaseSlot slot, NpgsqlConnection connection, RentSite site, Task closing, bool leftOpen)
    {
        try
        {
            await closing.WaitAsync(PoolSettings.ReturnPatience, parts.Time).ConfigureAwait(false);
        }
        catch (TimeoutException) when (!closing.IsCompleted)
        {
            await QuarantineAsync(slot, connection, site, closing).ConfigureAwait(false);
            return CloseOutcome.Quarantined;
        }
        catch (Exception error)
        {
            Log.ReturnFailed(parts.Logger, parts.Settings.Name, site.ToString(), error);
            return await RetireAsync(connection, blocking: false).ConfigureAwait(false);
        }

        if (leftOpen)
        {
            Log.TransactionRolledBack(parts.Logger, parts.Settings.Name, site.ToString());
        }

        return CloseOutcome.AtRest;
    }

    private Task CloseBlocking(NpgsqlConnection connection)
    {
        parts.Source.Close(connection);
        return Task.CompletedTask;
    }

    private async Task QuarantineAsync(LeaseSlot slot, NpgsqlConnection connection, RentSite site, Task closing)
    {
        slot.Reset();
        lock (_stuck)
        {
            _stuck.Add(new Stuck(slot.Place, connection, closing));
        }

        parts.Gate.Quarantine(slot.Place);
        Log.Quarantined(parts.Logger, parts.Settings.Name, site.ToString(), PoolSettings.ReturnPatience.TotalSeconds);
        await parts.Source.TerminateAsync(connection).ConfigureAwait(false);
    }

    private async ValueTask<CloseOutcome> RetireAsync(NpgsqlConnection connection, bool blocking)
        => await TryRetireAsync(connection, blocking).ConfigureAwait(false) ? CloseOutcome.Gone : CloseOutcome.AtRest;

    private async ValueTask<bool> TryRetireAsync(NpgsqlConnection connection, bool blocking)
    {
        try
        {
            return await parts.Source.RetireAsync(connection, blocking).ConfigureAwait(false);
        }
        catch (Exception error)
        {
            Log.RetireFailed(parts.Logger, parts.Settings.Name, error);
            return true;
        }
    }

    /// <summary>One break that Npgsql takes for the server's makes it clear its whole pool: the others are retired here as well.</summary>
    private void RetireElders(int generation)
    {
        // The first of a generation does it; those that broke in the same outage find it done.
        if (parts.Physicals.TryAdvance(generation))
        {
            Log.Broken(parts.Logger, parts.Settings.Name);
            parts.Source.Clear();
        }
    }

    /// <summary>Npgsql itself ends what was taken before a clear, or comes back after the pool was closed.</summary>
    private bool IsStale(LeaseSlot slot) => parts.Gate.IsClosed || slot.Generation != parts.Physicals.Generation;

    private bool IsBusy(NpgsqlConnection connection)
        => (parts.Source.StateOf(connection) & (ConnectionState.Executing | ConnectionState.Fetching)) != 0;

    private bool IsGone(NpgsqlConnection connection)
        => parts.Source.StateOf(connection) is ConnectionState.Closed or ConnectionState.Broken;

    private static bool IsOpen(NpgsqlTransaction? transaction)
    {
        try
        {
            // The one public member that refuses to answer once a transaction is over.
            _ = transaction?.IsolationLevel;
            return transaction is not null;
        }
        catch (InvalidOperationException)
        {
            return false;
        }
    }

    private enum CloseOutcome
    {
        AtRest,
        Gone,
        Quarantined,
    }

    private sealed class Stuck(int place, NpgsqlConnection connection, Task closing)
    {
        public int Place { get; } = place;

        public NpgsqlConnection Connection { get; } = connection;

        public Task Closing { get; set; } = closing;
    }
}
