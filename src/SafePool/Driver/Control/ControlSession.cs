using System.Globalization;
using Npgsql;

namespace SafePool.Driver.Control;

/// <summary>An open control connection, and who has answered it.</summary>
/// <param name="Connection">Open, for this act alone.</param>
/// <param name="Server">Null when the server does not say.</param>
/// <param name="IsProven">It is a server on which the pool has sessions, or the pool has none anywhere.</param>
internal readonly record struct ControlSession(NpgsqlConnection Connection, ServerIdentity? Server, bool IsProven)
{
    /// <summary>Asks a server who it is; null when it does not say.</summary>
    public static async Task<ServerIdentity?> AskServerAsync(NpgsqlConnection connection, CancellationToken cancellationToken)
    {
        var command = Housekeeping.Command("SELECT " + ServerIdentity.Sql, connection);
        await using var disposal = command.ConfigureAwait(false);
        try
        {
            return await command.ExecuteScalarAsync(cancellationToken).ConfigureAwait(false) is long startedAt ? new ServerIdentity(startedAt) : null;
        }
        catch (PostgresException refused) when (IdentityQuestion.IsRefusal(refused, connection))
        {
            return null;
        }
    }

    /// <summary>Calls a function on the backend of a session, in the one statement that proves that it is the session's: the same server, process id and <c>backend_start</c>.</summary>
    /// <param name="connection">Open.</param>
    /// <param name="function">Of one process id.</param>
    /// <param name="target">Provable.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <returns><see cref="SignalOutcome.Signalled"/>, <see cref="SignalOutcome.SessionGone"/> or <see cref="SignalOutcome.OtherServer"/>.</returns>
    public static async Task<SignalOutcome> SignalAsync(
        NpgsqlConnection connection, string function, SessionIdentity target, CancellationToken cancellationToken)
    {
        // Numbers only. Between the look at the backend and the signal are microseconds, for which PostgreSQL gives nobody a lock.
        var sql = string.Create(
            CultureInfo.InvariantCulture,
            $"""
            SELECT CASE WHEN {ServerIdentity.Sql} <> {target.Server!.StartedAt} THEN 'another' ELSE coalesce((
                SELECT {function}(pid)::text FROM pg_stat_get_activity({target.ProcessId})
                WHERE pid = {target.ProcessId} AND round(extract(epoch FROM backend_start) * 1000000)::int8 = {target.StartedAt}
                  AND {ServerIdentity.Sql} = {target.Server.StartedAt}), 'gone') END
            """);
        var command = Housekeeping.Command(sql, connection);
        await using var disposal = command.ConfigureAwait(false);
        return await command.ExecuteScalarAsync(cancellationToken).ConfigureAwait(false) switch
        {
            "true" => SignalOutcome.Signalled,
            "another" => SignalOutcome.OtherServer,
            _ => SignalOutcome.SessionGone,
        };
    }
}
