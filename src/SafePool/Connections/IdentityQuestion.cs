using System.Globalization;
using Microsoft.Extensions.Logging;
using Npgsql;
using SafePool.Options;
using SafePool.Telemetry;

namespace SafePool.Connections;

/// <summary>Asks a new session who it is, in one round trip, and does without what cannot be asked.</summary>
/// <remarks>
/// Nothing here is needed to serve an application, so nothing here fails an open: a function that was revoked, or that a proxy or a look-alike of PostgreSQL does not know, is left out from then on, until the next
/// generation of connections asks again. It is said once for a pool.
/// </remarks>
internal sealed class IdentityQuestion(PoolSettings settings, ILogger logger)
{
    private const int All = (1 << 5) - 1;

    // By function and not by the view: it asks for one backend, and does not need a right on the view. Outside of each expression stands nothing that could be revoked.
    private static readonly Part[] _parts =
    [
        new("pg_backend_pid()", "pg_backend_pid()"),
        new("pg_stat_get_activity()", "(SELECT round(extract(epoch FROM backend_start) * 1000000)::int8 FROM pg_stat_get_activity(pg_backend_pid()))"),
        new("pg_postmaster_start_time()", ServerIdentity.Sql),
        new("pg_is_in_recovery()", "pg_is_in_recovery()"),
        new("transaction_read_only", "current_setting('transaction_read_only')"),
    ];

    private Askable _askable = new(0, All);
    private int _hasWarned;

    public async ValueTask<SessionIdentity> AskAsync(NpgsqlConnection connection, int generation, bool blocking, CancellationToken cancellationToken)
    {
        var known = Volatile.Read(ref _askable);
        var asked = known.Generation == generation ? known.Parts : All;
        try
        {
            return Read(await QueryAsync(connection, asked, blocking, cancellationToken).ConfigureAwait(false));
        }
        catch (PostgresException refused) when (IsRefusal(refused, connection))
        {
            return await AskOneByOneAsync(connection, generation, blocking, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>Whether the server objects to a question, and not to the session as such.</summary>
    public static bool IsRefusal(PostgresException refused, NpgsqlConnection connection)
        => connection.FullState == System.Data.ConnectionState.Open && PoolerErrors.KindOf(refused) is null && !IsTrouble(refused.SqlState);

    /// <summary>Insufficient resources, an operator's intervention, a system error, a connection lost: of the server, whatever it is asked.</summary>
    private static bool IsTrouble(string sqlState)
        => sqlState.StartsWith("53", StringComparison.Ordinal)
            || sqlState.StartsWith("57", StringComparison.Ordinal)
            || sqlState.StartsWith("58", StringComparison.Ordinal)
            || sqlState.StartsWith("08", StringComparison.Ordinal);

    private static SessionIdentity Read(string[] answers) => new()
    {
        ProcessId = NumberIn(answers[0]) is { } processId and > 0 and <= int.MaxValue ? (int)processId : null,
        StartedAt = NumberIn(answers[1]),
        Server = NumberIn(answers[2]) is { } startedAt ? new ServerIdentity(startedAt) : null,
        IsInRecovery = SwitchIn(answers[3]),
        IsReadOnly = SwitchIn(answers[4]),
    };

    private static long? NumberIn(string text) => long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number) ? number : null;

    private static bool? SwitchIn(string text) => text switch
    {
        "t" or "true" or "on" => true,
        "f" or "false" or "off" => false,
        _ => null,
    };

    private async ValueTask<SessionIdentity> AskOneByOneAsync(NpgsqlConnection connection, int generation, bool blocking, CancellationToken cancellationToken)
    {
        var answers = Enumerable.Repeat("", _parts.Length).ToArray();
        var askable = 0;
        PostgresException? last = null;
        for (var part = 0; part < _parts.Length; part++)
        {
            try
            {
                answers[part] = (await QueryAsync(connection, 1 << part, blocking, cancellationToken).ConfigureAwait(false))[part];
                askable |= 1 << part;
            }
            catch (PostgresException refused) when (IsRefusal(refused, connection))
            {
                last ??= refused;
            }
        }

        Volatile.Write(ref _askable, new Askable(generation, askable));
        if (last is not null && Interlocked.Exchange(ref _hasWarned, 1) == 0)
        {
            var what = string.Join(", ", _parts.Where((_, part) => (askable & (1 << part)) == 0).Select(part => part.Name));
            Log.IdentityNotAsked(logger, settings.Name, what, last.MessageText, Lost(askable));
        }

        return Read(answers);
    }

    private static string Lost(int askable) => (askable & 1) == 0
        ? "it cannot tell whether a pooler is in between, so it takes one to be, and no session of its own can be cancelled or ended from outside"
        : (askable & 0b111) != 0b111
            ? "none of its sessions can be proven to be its own, so none is cancelled or ended from outside, nor asked about"
            : "the role of the server is not known";

    private async ValueTask<string[]> QueryAsync(NpgsqlConnection connection, int asked, bool blocking, CancellationToken cancellationToken)
    {
        // One text, so that it is one scalar: readers have no blocking form of everything.
        var fields = _parts.Select((part, index) => (asked & (1 << index)) != 0 ? $"coalesce(({part.Sql})::text, '')" : "''");
        var command = Housekeeping.Command("SELECT " + string.Join(" || '|' || ", fields), connection);
        await using var disposal = command.ConfigureAwait(false);

        // For those who block: nobody can cancel them.
        command.CommandTimeout = (int)Math.Ceiling(settings.ConnectTimeout.TotalSeconds);
        var answer = blocking ? command.ExecuteScalar() : await command.ExecuteScalarAsync(cancellationToken).ConfigureAwait(false);
        var answers = (answer as string)?.Split('|') ?? [];
        return [.. answers.Concat(Enumerable.Repeat("", _parts.Length)).Take(_parts.Length)];
    }

    private sealed record Part(string Name, string Sql);

    private sealed record Askable(int Generation, int Parts);
}
