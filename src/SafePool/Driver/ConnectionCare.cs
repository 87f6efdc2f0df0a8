using System.Data;
using Npgsql;
using SafePool.Time;

namespace SafePool.Driver;

/// <summary>The closer look at a connection that was taken while <see cref="PhysicalConnections.NeedsCare"/> was set, or by the pool itself.</summary>
internal sealed class ConnectionCare(IConnectionSource source, PhysicalConnections physicals)
{
    private const string Nothing = ";";

    private static readonly Task<bool> _unfit = Task.FromResult(false);

    /// <summary>Begins to make a connection fit to be handed out. Null when it is fit as it is.</summary>
    /// <returns>
    /// A task that never fails: false when the connection is too old, or did not bear it, and must be retired. It lasts as long as the server's answer: whoever
    /// waits for it sets a bound.
    /// </returns>
    public Task<bool>? Begin(NpgsqlConnection connection, bool blocking)
    {
        if (source.Identify(connection) is not { } physical)
        {
            return source.StateOf(connection) == ConnectionState.Open ? null : _unfit;
        }

        if (physicals.IsExpired(physical))
        {
            return _unfit;
        }

        var probes = physicals.IsUnheard(physical);
        return !probes && !physical.IsUntidy ? null
            : blocking ? OwnThread.RunAsync(() => Synchronously.Result(TryMakeFitAsync(connection, physical, probes, blocking: true)))
            : TryMakeFitAsync(connection, physical, probes, blocking: false).AsTask();
    }

    /// <summary>Waits for a look, but only so long, while the process runs.</summary>
    public static async ValueTask<bool> IsOverAsync<T>(Task<T> look, TimeSpan patience, PoolClock clock, CancellationToken cancellationToken)
    {
        try
        {
            await clock.WaitAsync(look, patience, cancellationToken).ConfigureAwait(false);
            return true;
        }
        catch (TimeoutException)
        {
            return false;
        }
    }

    /// <summary>Says to the server what must be said; with <paramref name="flush"/> something in any case, so that it gives a sign of life and a reset that waits is sent.</summary>
    public async ValueTask<bool> TryMakeFitAsync(NpgsqlConnection connection, PhysicalConnection physical, bool flush, bool blocking)
    {
        if (physicals.IsExpired(physical))
        {
            return false;
        }

        physicals.NoteAsked(physical);
        try
        {
            if (flush || physical.NeedsFlush)
            {
                await FlushAsync(connection, physical, blocking).ConfigureAwait(false);
                physical.NeedsFlush = false;
                physicals.NoteSeen(physical);
            }

            if (physical.NeedsReset)
            {
                await source.ResetAsync(connection, blocking).ConfigureAwait(false);
                physical.NeedsReset = false;
            }

            if (physical.NeedsUnprepare)
            {
                await source.UnprepareAllAsync(connection, blocking).ConfigureAwait(false);
                physical.NeedsUnprepare = false;
            }

            if (physical.NeedsTimeoutReset)
            {
                await SayAsync(connection, physical, "RESET statement_timeout", blocking).ConfigureAwait(false);
                physical.NeedsTimeoutReset = false;
            }

            return true;
        }
        catch (Exception)
        {
            // Whatever it was: this connection is not handed out, and the return that follows says what is wrong with it.
            return false;
        }
    }

    private async ValueTask FlushAsync(NpgsqlConnection connection, PhysicalConnection physical, bool blocking)
    {
        try
        {
            // An empty command would be refused; this statement is none, but takes along what waits, and absorbs a cancel.
            await SayAsync(connection, physical, Nothing, blocking).ConfigureAwait(false);
        }
        catch (PostgresException cancelled) when (cancelled.SqlState == PostgresErrorCodes.QueryCanceled && source.StateOf(connection) == ConnectionState.Open)
        {
            // That was the late one. A reset that was cut off has broken the connection instead.
        }
    }

    /// <summary>Says something that may have no answer. Who blocks cannot be cancelled, and Npgsql's own timeout takes all others along.</summary>
    private async ValueTask SayAsync(NpgsqlConnection connection, PhysicalConnection physical, string sql, bool blocking)
    {
        if (blocking)
        {
            await source.ExecuteAsync(connection, sql, blocking).ConfigureAwait(false);
            return;
        }

        using var patience = physicals.BeginPatience();
        try
        {
            await source.AskAsync(connection, sql, patience.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            physical.BrokeAlone = true;
            throw;
        }

        if (patience.IsCancellationRequested)
        {
            // Answered after all, as in a process that stood still: the cancel may be on its way.
            await source.ExecuteAsync(connection, Nothing, blocking).ConfigureAwait(false);
        }
    }
}
