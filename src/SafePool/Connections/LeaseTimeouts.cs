using System.Globalization;
using Npgsql;
using SafePool.Options;

namespace SafePool.Connections;

/// <summary>The pool's timeouts, and those of one rent, as words with the server: where start-up options do not do it.</summary>
internal sealed class LeaseTimeouts(PoolSettings settings, ServerPath path)
{
    private const string StatementTimeout = "statement_timeout";

    // In whole seconds: a server that takes longer is taken for silent, and the connection is retired.
    private static readonly int _patience = (int)Math.Ceiling(PoolSettings.ReturnPatience.TotalSeconds);

    /// <summary>Sets them for a lease that is about to begin. False, and nothing is set, when the connection has not the backend that it was opened with.</summary>
    /// <remarks>
    /// Then what was taken for a pooler by session is none, and the setting would be left behind in a session that the next transaction of somebody else gets.
    /// </remarks>
    public async ValueTask<bool> TrySetAsync(NpgsqlConnection connection, SessionIdentity session, RentOptions? options, bool blocking)
    {
        var sets = string.Join(" || ", Wanted(options).Select(timeout => SetConfig(timeout, isLocal: false)));
        var isServer = session.Server is { } server ? string.Create(CultureInfo.InvariantCulture, $" AND {ServerIdentity.Sql} = {server.StartedAt}") : "";
        var sql = string.Create(CultureInfo.InvariantCulture, $"SELECT CASE WHEN pg_backend_pid() = {session.ProcessId ?? 0}{isServer} THEN {sets} END");
        var command = Housekeeping.Command(sql, connection);
        await using var disposal = command.ConfigureAwait(false);
        command.CommandTimeout = _patience;
        return (blocking ? command.ExecuteScalar() : await command.ExecuteScalarAsync(CancellationToken.None).ConfigureAwait(false)) is string;
    }

    /// <summary>What a rent with a timeout of its own says where the pool has nothing to say. Null: nothing.</summary>
    public string? ForRent(RentOptions? options)
        => options?.StatementTimeout is { } timeout && !path.SetsPerLease && !path.SharesSessions
            ? string.Create(CultureInfo.InvariantCulture, $"SET statement_timeout = {(long)timeout.TotalMilliseconds}")
            : null;

    /// <summary>What a transaction says when it begins. Null: nothing.</summary>
    public string? ForTransaction(RentOptions? options)
    {
        if (!path.SharesSessions || (path.Way != TimeoutWay.PerTransaction && options?.StatementTimeout is null))
        {
            return null;
        }

        var wanted = path.Way == TimeoutWay.PerTransaction ? Wanted(options) : [Own(options!.StatementTimeout!.Value)];
        return "SELECT " + string.Join(", ", wanted.Select(timeout => SetConfig(timeout, isLocal: true)));
    }

    /// <summary>Runs it in a transaction that has just begun; on failure the transaction is over.</summary>
    public static async ValueTask SayAsync(NpgsqlTransaction transaction, string sql, bool blocking, CancellationToken cancellationToken)
    {
        try
        {
            var command = Housekeeping.Command(sql, transaction.Connection, transaction);
            await using var disposal = command.ConfigureAwait(false);
            _ = blocking ? command.ExecuteScalar() : await command.ExecuteScalarAsync(cancellationToken).ConfigureAwait(false);
        }
        catch
        {
            if (blocking)
            {
                transaction.Dispose();
            }
            else
            {
                await transaction.DisposeAsync().ConfigureAwait(false);
            }

            throw;
        }
    }

    private static SessionTimeout Own(TimeSpan timeout) => new(StatementTimeout, timeout);

    private static string SetConfig(SessionTimeout timeout, bool isLocal)
        => $"set_config('{timeout.Parameter}', '{timeout.Milliseconds}', {(isLocal ? "true" : "false")})";

    private IEnumerable<SessionTimeout> Wanted(RentOptions? options)
        => options?.StatementTimeout is { } own
            ? settings.SessionTimeouts.Where(timeout => timeout.Parameter != StatementTimeout).Append(Own(own))
            : settings.SessionTimeouts;
}
