using System.Data;
using Npgsql;
using SafePool.Driver;
using SafePool.Leases;
using SafePool.Lifecycle.Enlistments;
using SafePool.Logging;
using SafePool.Options;
using SafePool.Time;

namespace SafePool.Lifecycle;

/// <summary>What has become of a connection that was closed.</summary>
internal enum CloseOutcome
{
    /// <summary>It is Npgsql's again, for the next lease; at the very least nobody holds it.</summary>
    AtRest,

    /// <summary>The physical connection does not exist any more.</summary>
    Gone,

    /// <summary>The same, and it broke by itself: Npgsql then clears its whole pool when it takes the server for the cause.</summary>
    Broken,

    /// <summary>As <see cref="Gone"/>, but it lay at rest before, where an open may have found it.</summary>
    GoneFromRest,
}

/// <summary>Closes the connection of a lease that was returned (design decision D4): the dangerous half.</summary>
/// <remarks>
/// Npgsql loses a connection that is closed while a command runs on it, and a close may throw and leave the connection open. So what runs is cancelled and
/// waited for, and a close counts only when the connection's state says so.
/// </remarks>
internal sealed class ConnectionCloser(PoolParts parts, EnlistedPlaces enlisted)
{
    private static readonly TimeSpan _insists = TimeSpan.FromMilliseconds(300);
    private static readonly TimeSpan _firstLook = TimeSpan.FromMilliseconds(1);
    private static readonly TimeSpan _lastLook = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan _lastRetry = TimeSpan.FromSeconds(1);

    // For one that was written off: nothing depends on it any more.
    private static readonly TimeSpan _seldom = TimeSpan.FromSeconds(15);

    /// <summary>Whether the session needs words with the server on every return.</summary>
    public bool HasCeremony { get; } = parts.Settings.LeaseReturning is not null || parts.Settings.Reset == SessionReset.Strict;

    /// <summary>Whether a command runs on the connection or a reader is open.</summary>
    public bool IsBusy(NpgsqlConnection connection)
        => (parts.Source.StateOf(connection) & (ConnectionState.Executing | ConnectionState.Fetching)) != 0;

    /// <summary>Npgsql itself ends what was taken before a clear, or comes back after the pool was closed.</summary>
    public bool IsStale(int generation) => parts.Gate.IsClosed || generation != parts.Physicals.Generation;

    /// <summary>Ends what runs, closes, and tries again until the connection is at rest or gone; then nobody who kept it can open it again. Never throws; may take for ever.</summary>
    public async Task<CloseOutcome> CloseForSureAsync(ClosingLease lease, bool retire)
    {
        var outcome = await TryUntilClosedAsync(lease, retire).ConfigureAwait(false);
        lease.Connection.Dispose();
        return outcome;
    }

    private async Task<CloseOutcome> TryUntilClosedAsync(ClosingLease lease, bool retire)
    {
        var connection = lease.Connection;
        var pause = TimeSpan.Zero;
        var dooms = false;
        while (true)
        {
            try
            {
                if (IsBusy(connection))
                {
                    if (retire && parts.Source.Identify(connection) is { } physical)
                    {
                        // Ending a reader closes the connection along with it, which then lies at rest.
                        parts.Physicals.Expire(physical);
                    }

                    // Its transaction fails along with the command, and a commit would not say so.
                    dooms = true;
                    await EndCommandAsync(lease, connection).ConfigureAwait(false);
                    if (IsForgotten(lease))
                    {
                        return CloseOutcome.Gone;
                    }
                }

                if (lease.Enlistment is { IsFree: false } enlistment && await TryCloseWithinAsync(lease, enlistment, retire || dooms).ConfigureAwait(false))
                {
                    return CloseOutcome.AtRest;
                }

                return await CloseReadyAsync(lease, retire).ConfigureAwait(false);
            }
            catch (Exception error) when (pause == TimeSpan.Zero)
            {
                // Said once. The next attempt follows at once, and from then on there are pauses.
                Log.ReturnFailed(parts.Logger, parts.Settings.Name, lease.Site.ToString(), error);
                pause = _firstLook;
                retire = true;
                continue;
            }
            catch (Exception) when (pause < _lastRetry)
            {
                pause *= 2;
            }
            catch (Exception)
            {
                pause = _lastRetry;
            }

            if (IsForgotten(lease))
            {
                return CloseOutcome.Gone;
            }

            await Task.Delay(lease.IsWrittenOff ? _seldom : pause, parts.Time).ConfigureAwait(false);
        }
    }

    /// <summary>The rest of a plain close that had something to say to the server. Never throws.</summary>
    public async Task<CloseOutcome> FinishAsync(ClosingLease lease, Task closing)
    {
        try
        {
            await closing.ConfigureAwait(false);
            lease.Connection.Dispose();
            Log.TransactionRolledBack(parts.Logger, parts.Settings.Name, lease.Site.ToString());
            return CloseOutcome.AtRest;
        }
        catch (Exception error)
        {
            Log.ReturnFailed(parts.Logger, parts.Settings.Name, lease.Site.ToString(), error);
            return await CloseForSureAsync(lease, retire: true).ConfigureAwait(false);
        }
    }

    /// <summary>Nobody waits for it, and there is no pool any more.</summary>
    private bool IsForgotten(ClosingLease lease) => lease.IsWrittenOff && parts.Gate.IsClosed;

    /// <summary>Closes a connection whose transaction goes on: Npgsql keeps it for the next lease in it. False when the transaction is over; then the connection is one like any other.</summary>
    private async ValueTask<bool> TryCloseWithinAsync(ClosingLease lease, Enlistment enlistment, bool dooms)
    {
        var connection = lease.Connection;
        var state = parts.Source.StateOf(connection);
        if (state == ConnectionState.Broken)
        {
            return false;
        }

        if (!dooms && await enlistment.GoesOnAsync(connection).ConfigureAwait(false))
        {
            if (state == ConnectionState.Closed)
            {
                return true;
            }

            if (await TryRunHookAsync(connection).ConfigureAwait(false))
            {
                enlisted.RequireReset(enlistment);
                await parts.Source.CloseAsync(connection).ConfigureAwait(false);
                return true;
            }
        }

        // Closed already, nobody can tell whether it is at rest: the end of the parking finds out.
        await enlistment.DoomAsync(connection).ConfigureAwait(false);
        return state == ConnectionState.Closed;
    }

    /// <summary>Closes a connection on which nothing runs. May throw.</summary>
    private async ValueTask<CloseOutcome> CloseReadyAsync(ClosingLease lease, bool retire)
    {
        var connection = lease.Connection;
        var isStale = IsStale(lease.Generation);
        switch (parts.Source.StateOf(connection))
        {
            case ConnectionState.Broken:
                await CloseBrokenAsync(connection).ConfigureAwait(false);
                return CloseOutcome.Broken;

            case ConnectionState.Closed:
                // The user closed it: it lies at rest, unless it had been broken, which the next taker finds out.
                return isStale ? CloseOutcome.GoneFromRest : CloseOutcome.AtRest;
        }

        // Whether one was left open is asked first: what follows may end it.
        var leftOpen = Transactions.IsOpen(lease.LastTransaction);
        if (!isStale)
        {
            var physical = parts.Source.Identify(connection);
            retire |= physical is not null && parts.Physicals.IsExpired(physical);
            if (retire || !await TryRunHookAsync(connection).ConfigureAwait(false))
            {
                return await parts.Source.RetireAsync(connection).ConfigureAwait(false) ? CloseOutcome.Gone : CloseOutcome.AtRest;
            }

            leftOpen |= await UndoAsync(lease, connection, physical).ConfigureAwait(false);
        }

        var closing = leftOpen ? OwnThread.RunAsync(() => parts.Source.Close(connection)) : parts.Source.CloseAsync(connection);
        // Npgsql talks to the server in a close only to roll a transaction back, also one that was begun by SQL: if it takes time there was one.
        leftOpen |= !closing.IsCompleted;
        await closing.ConfigureAwait(false);
        if (leftOpen)
        {
            Log.TransactionRolledBack(parts.Logger, parts.Settings.Name, lease.Site.ToString());
        }

        return isStale ? CloseOutcome.Gone : CloseOutcome.AtRest;
    }

    /// <summary>Closes a connection that is broken, or breaks in this moment: then another flow is about to close the socket, and nothing is gone before that.</summary>
    /// <remarks>
    /// Npgsql says that a connection is broken, then clears its pool, waits for a cancel request that may be under way, and only then closes the socket. A close in between returns at once, and
    /// unlike one that comes afterwards it raises <c>StateChange</c>; once all is done Npgsql calls the connection broken again.
    /// </remarks>
    private async Task CloseBrokenAsync(NpgsqlConnection connection)
    {
        var isBreaking = false;
        connection.StateChange += Note;
        parts.Source.Close(connection);
        connection.StateChange -= Note;
        for (var pause = _firstLook; isBreaking && parts.Source.StateOf(connection) == ConnectionState.Closed; pause = pause * 2 < _lastLook ? pause * 2 : _lastLook)
        {
            await Task.Delay(pause, parts.Time).ConfigureAwait(false);
        }

        void Note(object sender, StateChangeEventArgs change) => isBreaking = true;
    }

    /// <summary>Cancels what runs until nothing does. The command's own flow must end by itself; nothing tells when.</summary>
    private async Task EndCommandAsync(ClosingLease lease, NpgsqlConnection connection)
    {
        Log.ReturnedBusy(parts.Logger, parts.Settings.Name, lease.Site.ToString(), parts.Source.StateOf(connection).ToString());
        if (parts.Source.Identify(connection) is { } physical)
        {
            // The cancel may arrive after what it was meant for: whoever gets this connection next absorbs it first.
            physical.NeedsFlush = true;
            // A reader may take the connection with it when it closes, and then UndoAsync has nobody to talk to.
            physical.NeedsUnprepare |= parts.Settings.Reset == SessionReset.Strict;
            parts.Physicals.RequireCare();
        }

        await parts.Source.CancelAsync(connection, blocking: false).ConfigureAwait(false);
        var cancelled = parts.Clock.Exact;
        var isInsisted = false;
        for (var pause = _firstLook; IsBusy(connection); pause = lease.IsWrittenOff ? _seldom : pause * 2 < _lastLook ? pause * 2 : _lastLook)
        {
            if (IsForgotten(lease))
            {
                return;
            }

            if (!isInsisted && parts.Clock.Since(cancelled) >= _insists)
            {
                // The request goes to whoever answers under the name, and is ignored by the wrong one. After two seconds Npgsql gives the connection up, but the backend would work on.
                isInsisted = true;
                await parts.Source.CancelFromOutsideAsync(connection).ConfigureAwait(false);
            }

            if (!await TryCloseReaderAsync(connection).ConfigureAwait(false))
            {
                await Task.Delay(pause, parts.Time).ConfigureAwait(false);
            }
        }
    }

    /// <summary>Closes with a reader still open: its query has been cancelled, so reading the rest is short.</summary>
    private async Task<bool> TryCloseReaderAsync(NpgsqlConnection connection)
    {
        if ((parts.Source.StateOf(connection) & ConnectionState.Executing) != 0)
        {
            return false;
        }

        try
        {
            // On a thread of its own: what is left of an export Npgsql reads in the blocking form, for as long as that takes.
            await OwnThread.RunAsync(() => parts.Source.Close(connection)).ConfigureAwait(false);
            return true;
        }
        catch (PostgresException cancelled) when (cancelled.SqlState == PostgresErrorCodes.QueryCanceled)
        {
            // The cancel came out of the close itself, and the connection is still open.
            return true;
        }
        catch (NpgsqlOperationInProgressException)
        {
            // Another flow is in the middle of it, waiting for notifications for example.
            return false;
        }
    }

    private async ValueTask<bool> TryRunHookAsync(NpgsqlConnection connection)
    {
        try
        {
            if (parts.Settings.LeaseReturning is { } hook)
            {
                await parts.Hooks.RunWithinAsync(
                    hook,
                    nameof(ConnectionPoolOptions.LeaseReturning),
                    connection,
                    blocking: false,
                    PoolSettings.ReturnPatience,
                    CancellationToken.None).ConfigureAwait(false);
            }

            return true;
        }
        catch (Exception error)
        {
            Log.HookFailed(parts.Logger, parts.Settings.Name, nameof(ConnectionPoolOptions.LeaseReturning), error);
            return false;
        }
    }

    /// <summary>Undoes what Npgsql's own reset would leave. True when a transaction had to be rolled back for it.</summary>
    private async ValueTask<bool> UndoAsync(ClosingLease lease, NpgsqlConnection connection, PhysicalConnection? physical)
    {
        if (parts.Settings.Reset == SessionReset.Strict)
        {
            // Npgsql's reset waits for the next lease's first command. Until then the session would hold its locks, and collect notifications.
            var wasOpen = await parts.Source.DiscardAllAsync(connection).ConfigureAwait(false);
            physical?.NeedsUnprepare = false;
            return wasOpen;
        }

        if (parts.Settings.Reset == SessionReset.Rollback && lease.HasOwnTimeout && physical is not null && !parts.Path.SharesSessions)
        {
            // Not now: in an open transaction it would be rolled back along with it.
            physical.NeedsTimeoutReset = true;
            parts.Physicals.RequireCare();
        }

        return false;
    }
}
