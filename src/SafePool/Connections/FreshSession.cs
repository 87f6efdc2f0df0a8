using Npgsql;
using SafePool.Failures;
using SafePool.Options;

namespace SafePool.Connections;

/// <summary>Asks the server's role: over a connection that is there, or over one that is opened for it, to find out where a new one would lead.</summary>
internal sealed class FreshSession(PoolSettings settings, ServerHosts hosts)
{
    private const string IsInRecovery = "SELECT pg_is_in_recovery()";

    // In whole seconds.
    private static readonly int _patience = (int)Math.Ceiling(PoolSettings.ReturnPatience.TotalSeconds);

    /// <summary>Whether a session that was opened now would be on a standby. Null when none could be opened, or several hosts are named: then each is asked for its role (<see cref="HostRoles"/>).</summary>
    public async Task<bool?> IsOnStandbyAsync(CancellationToken cancellationToken)
    {
        if (hosts.Only is not { } server)
        {
            return null;
        }

        var unpooled = new NpgsqlConnectionStringBuilder(server.Text) { Pooling = false };
        var source = ServerDataSource.Build(settings, unpooled.ConnectionString, DataSourceUse.Knock);
        await using var sourceDisposal = source.ConfigureAwait(false);
        try
        {
            var connection = await source.OpenConnectionAsync(cancellationToken).ConfigureAwait(false);
            await using var disposal = connection.ConfigureAwait(false);
            return await IsOnStandbyAsync(connection).ConfigureAwait(false);
        }
        catch (Exception error) when (error is NpgsqlException or OperationCanceledException or System.Net.Sockets.SocketException)
        {
            return null;
        }
    }

    /// <summary>The same for a connection that is there. Null when it does not answer; never throws what the server says.</summary>
    public static async Task<bool?> IsOnStandbyAsync(NpgsqlConnection connection)
    {
        if (ReadOnlySessions.ReportedStandby(connection) is { } standby)
        {
            return standby;
        }

        try
        {
            var command = Housekeeping.Command(IsInRecovery, connection);
            await using var disposal = command.ConfigureAwait(false);
            command.CommandTimeout = _patience;
            return await command.ExecuteScalarAsync(CancellationToken.None).ConfigureAwait(false) as bool?;
        }
        catch (Exception error) when (error is NpgsqlException or InvalidOperationException)
        {
            return null;
        }
    }
}
