using Npgsql;

namespace SafePool.Connections;

/// <summary>The closer look at a connection that was taken while <see cref="PhysicalConnections.NeedsCare"/> was set.</summary>
internal sealed class ConnectionCare(IConnectionSource source, PhysicalConnections physicals)
{
    /// <summary>Makes a connection fit to be handed out: false when it is too old or did not bear it, and must be retired.</summary>
    public async ValueTask<bool> TryMakeFitAsync(NpgsqlConnection connection, bool blocking)
        => source.Identify(connection) is not { } physical
            || await TryMakeFitAsync(connection, physical, flush: false, blocking).ConfigureAwait(false);

    /// <summary>The same; with <paramref name="flush"/> a reset that still waits for the next command is sent in any case.</summary>
    public async ValueTask<bool> TryMakeFitAsync(NpgsqlConnection connection, PhysicalConnection physical, bool flush, bool blocking)
    {
        if (physicals.IsExpired(physical))
        {
            return false;
        }

        try
        {
            if (flush || physical.NeedsFlush)
            {
                await FlushAsync(connection, blocking).ConfigureAwait(false);
                physical.NeedsFlush = false;
            }

            if (physical.NeedsUnprepare)
            {
                await source.UnprepareAllAsync(connection, blocking).ConfigureAwait(false);
                physical.NeedsUnprepare = false;
            }

            if (physical.NeedsTimeoutReset)
            {
                await source.ExecuteAsync(connection, "RESET statement_timeout", blocking).ConfigureAwait(false);
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

    private async ValueTask FlushAsync(NpgsqlConnection connection, bool blocking)
    {
        try
        {
            // An empty command would be refused; this statement is none, but takes along what waits, and absorbs a cancel.
            await source.ExecuteAsync(connection, ";", blocking).ConfigureAwait(false);
        }
        catch (PostgresException cancelled) when (cancelled.SqlState == PostgresErrorCodes.QueryCanceled)
        {
            // That was the late one.
        }
    }
}
