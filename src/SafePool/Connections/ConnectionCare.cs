using Npgsql;

namespace SafePool.Connections;

/// <summary>The closer look at a connection that was taken while <see cref="PhysicalConnections.NeedsCare"/> was set.</summary>
internal sealed class ConnectionCare(IConnectionSource source, PhysicalConnections physicals)
{
    /// <summary>Makes a connection fit to be handed out: false when it is too old or did not bear it, and must be retired.</summary>
    public async ValueTask<bool> TryMakeFitAsync(NpgsqlConnection connection, bool blocking)
        => source.Identify(connection) is not { } physical
            || (!physicals.IsExpired(physical) && await TryTidyAsync(connection, physical, blocking).ConfigureAwait(false));

    private async ValueTask<bool> TryTidyAsync(NpgsqlConnection connection, PhysicalConnection physical, bool blocking)
    {
        try
        {
            if (physical.NeedsFlush)
            {
                await AbsorbCancelAsync(connection, blocking).ConfigureAwait(false);
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

    private async ValueTask AbsorbCancelAsync(NpgsqlConnection connection, bool blocking)
    {
        try
        {
            await source.ExecuteAsync(connection, ";", blocking).ConfigureAwait(false);
        }
        catch (PostgresException cancelled) when (cancelled.SqlState == PostgresErrorCodes.QueryCanceled)
        {
            // That was the late one.
        }
    }
}
