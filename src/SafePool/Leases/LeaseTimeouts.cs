using System.Globalization;
using Npgsql;
using SafePool.Driver;
using SafePool.Driver.Poolers;
using SafePool.Options;

namespace SafePool.Leases;

/// <summary>The pool's timeouts, and those of one rent, as words with the server: where start-up options do not do it.</summary>
internal sealed class LeaseTimeouts(PoolSettings settings, ServerPath path)
{
    private const string StatementTimeout = "statement_timeout";

    // In whole seconds: a server that takes longer is taken for silent, and the connection is retired.
    private static readonly int _patience = (int)Math.Ceiling(PoolSettings.ReturnPatience.TotalSeconds);

    /// <summary>Sets them for a lease that is about to begin. Nothing is set when the connection has not, or not provably, the backend that it was opened with.</summary>
    /// <remarks>
    /// Then what was taken for a pooler by session is none, and the setting would be left behind in a session that the next transaction of somebody else gets. Directly connected there is nothing to prove, and no function to ask,
    /// which could be revoked. A refusal is thrown in a transaction that goes on, because it has just failed.
    /// </remarks>
    public async ValueTask<TimeoutsSaid> TrySetAsync(NpgsqlConnection connection, PhysicalConnection physical, bool isInTransaction, RentOptions? options, bool blocking)
    {
        var session = physical.Identity;
        var isDirect = path.Kind == PathKind.Direct && (physical.IsDirect || session.ProcessId is null);
        var command = Housekeeping.Command(isDirect ? Sets(Wanted(options), isLocal: false) : SetsIfProven(session, options), connection);
        await using var disposal = command.ConfigureAwait(false);
        command.CommandTimeout = _patience;
        try
        {
            var answer = blocking ? command.ExecuteScalar() : await command.ExecuteScalarAsync(CancellationToken.None).ConfigureAwait(false);
            return isDirect || answer is string ? TimeoutsSaid.Set : TimeoutsSaid.OtherBackend;
        }
        catch (PostgresException refused) when (refused.SqlState is PostgresErrorCodes.InsufficientPrivilege or PostgresErrorCodes.UndefinedFunction && !isDirect && !isInTransaction)
        {
            return TimeoutsSaid.NotProvable;
        }
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
        return Sets(wanted, isLocal: true);
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

    /// <summary>One round trip. Names are the pool's own, values digits.</summary>
    private static string Sets(IEnumerable<SessionTimeout> timeouts, bool isLocal)
        => string.Join("; ", timeouts.Select(timeout => $"SET {(isLocal ? "LOCAL" : "SESSION")} {timeout.Parameter} = '{timeout.Milliseconds}'"));

    private string SetsIfProven(SessionIdentity session, RentOptions? options)
    {
        var sets = string.Join(" || ", Wanted(options).Select(timeout => $"set_config('{timeout.Parameter}', '{timeout.Milliseconds}', false)"));
        var isServer = session.Server is { } server ? string.Create(CultureInfo.InvariantCulture, $" AND {ServerIdentity.Sql} = {server.StartedAt}") : "";
        return string.Create(CultureInfo.InvariantCulture, $"SELECT CASE WHEN pg_backend_pid() = {session.ProcessId ?? 0}{isServer} THEN {sets} END");
    }

    private IEnumerable<SessionTimeout> Wanted(RentOptions? options)
        => options?.StatementTimeout is { } own
            ? settings.SessionTimeouts.Where(timeout => timeout.Parameter != StatementTimeout).Append(Own(own))
            : settings.SessionTimeouts;
}

/// <summary>What became of timeouts that were said for a lease.</summary>
internal enum TimeoutsSaid
{
    /// <summary>They are in force.</summary>
    Set = 0,

    /// <summary>Another backend than the connection's own would have got them.</summary>
    OtherBackend,

    /// <summary>The server does not let this role ask which backend it is, or set them in the same statement.</summary>
    NotProvable,
}
