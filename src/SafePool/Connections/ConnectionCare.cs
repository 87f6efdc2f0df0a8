using Npgsql;

namespace SafePool.Connections;

/// <summary>The closer look at a connection that was taken while <see cref="PhysicalConnections.NeedsCare"/> was set.</summary>
internal sealed class ConnectionCare(IConnectionSource source, PhysicalConnections physicals)
{
    /// <summary>Makes a connection fit to be handed out: false when it was too old or did not bear it, and has been closed.</summary>
    public async ValueTask<bool> TryMakeFitAsync(NpgsqlConnection connection, bool blocking)
    {
        if (source.Identify(connection) is not { } physical)
        {
            return true;
        }

        if (!physicals.IsExpired(physical) && await TryTidyAsync(connection, physical, blocking).ConfigureAwait(false))
        {
            return true;
        }

        try
        {
            await source.RetireAsync(connection, blocking).ConfigureAwait(false);
        }
        catch (Exception error) when (error is NpgsqlException or IOException or TimeoutException or InvalidOperationException)
        {
            // It ended in another way than asked.
        }

        return false;
    }

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

            return true;
        }
        catch (Exception error) when (error is NpgsqlException or IOException or TimeoutException)
        {
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
