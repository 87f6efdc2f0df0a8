using Npgsql;
using SafePool.Options;

namespace SafePool.Connections;

/// <summary>Asks a session for the role of its server.</summary>
internal static class RoleQuestion
{
    // What a transaction that begins now would be: in a fresh session the server's default.
    private const string Question =
        "SELECT CASE WHEN pg_is_in_recovery() THEN 's' WHEN current_setting('transaction_read_only') = 'on' THEN 'r' ELSE 'w' END";

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

    private static HostRole Read(object? answer) => answer switch
    {
        "s" => HostRole.Standby,
        "r" => HostRole.ReadOnly,
        "w" => HostRole.ReadWrite,
        _ => HostRole.Unknown,
    };
}
