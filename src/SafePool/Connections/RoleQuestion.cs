using Npgsql;
using SafePool.Failures;
using SafePool.Options;

namespace SafePool.Connections;

/// <summary>Asks a session for the role of its server.</summary>
internal static class RoleQuestion
{
    // What a transaction that begins now would be: in a fresh session the server's default.
    private const string Question =
        "SELECT CASE WHEN pg_is_in_recovery() THEN 's' WHEN current_setting('transaction_read_only') = 'on' THEN 'r' ELSE 'w' END";

    private const string IsInRecovery = "SELECT pg_is_in_recovery()";

    // In whole seconds.
    private static readonly int _patience = (int)Math.Ceiling(PoolSettings.ReturnPatience.TotalSeconds);

    /// <returns><see cref="HostRole.Unknown"/> when the server does not say it to this user.</returns>
    public static async ValueTask<HostRole> AskAsync(NpgsqlConnection connection, TimeSpan patience, bool blocking, CancellationToken cancellationToken)
    {
        var command = Housekeeping.Command(Question, connection);
        await using var disposal = command.ConfigureAwait(false);

        // For those who block: nobody can cancel them.
        command.CommandTimeout = Math.Max(1, (int)Math.Ceiling(patience.TotalSeconds));
        try
        {
            return Read(blocking ? command.ExecuteScalar() : await command.ExecuteScalarAsync(cancellationToken).ConfigureAwait(false));
        }
        catch (PostgresException refused) when (refused.SqlState == PostgresErrorCodes.InsufficientPrivilege)
        {
            return HostRole.Unknown;
        }
    }

    /// <summary>Whether the server is in recovery. Null when it does not answer; never throws what the server says.</summary>
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

    private static HostRole Read(object? answer) => answer switch
    {
        "s" => HostRole.Standby,
        "r" => HostRole.ReadOnly,
        "w" => HostRole.ReadWrite,
        _ => HostRole.Unknown,
    };
}
