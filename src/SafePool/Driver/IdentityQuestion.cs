using System.Globalization;
using Microsoft.Extensions.Logging;
using Npgsql;
using SafePool.Driver.Control;
using SafePool.Driver.Hosts;
using SafePool.Driver.Poolers;
using SafePool.Logging;
using SafePool.Options;

namespace SafePool.Driver;

/// <summary>Asks a new session who it is, in one round trip, and does without what cannot be asked.</summary>
/// <remarks>
/// Nothing here is needed to serve an application, so nothing here fails an open: a function that was revoked, or that a proxy or a look-alike of PostgreSQL does not know, is left out from then on, until the next
/// generation of connections asks again. So is what ends the session that asks it (<see cref="FatalQuestions"/>). It is said once for a pool.
/// </remarks>
internal sealed class IdentityQuestion(PoolSettings settings, FatalQuestions fatal, ILogger logger)
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

    private Known _known = new(0, All);
    private int _hasWarned;

    /// <exception cref="QuestionEndedSessionException">It ended the session, and another one may tell more.</exception>
    public async ValueTask<SessionIdentity> AskAsync(NpgsqlConnection connection, int generation, bool blocking, CancellationToken cancellationToken)
    {
        var askable = Askable(generation);
        var asked = askable & ~fatal.NotAsked(generation);
        if (fatal.IsSuspected(generation, asked))
        {
            // What any application may ask, first: without an answer it was no question's fault.
            await QueryAsync(connection, 0, generation, blocking, cancellationToken).ConfigureAwait(false);
            return await AskOneByOneAsync(connection, asked, generation, blocking, cancellationToken).ConfigureAwait(false);
        }

        try
        {
            var answers = await QueryAsync(connection, asked, generation, blocking, cancellationToken).ConfigureAwait(false);
            WarnOfFatal(generation, askable);
            return Read(answers);
        }
        catch (PostgresException refused) when (IsRefusal(refused, connection))
        {
            return await AskOneByOneAsync(connection, asked, generation, blocking, cancellationToken).ConfigureAwait(false);
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

    private async ValueTask<SessionIdentity> AskOneByOneAsync(NpgsqlConnection connection, int asked, int generation, bool blocking, CancellationToken cancellationToken)
    {
        var answers = Enumerable.Repeat("", _parts.Length).ToArray();
        var refusedParts = 0;
        PostgresException? last = null;
        for (var part = 0; part < _parts.Length; part++)
        {
            if ((asked & (1 << part)) == 0)
            {
                continue;
            }

            try
            {
                answers[part] = (await QueryAsync(connection, 1 << part, generation, blocking, cancellationToken).ConfigureAwait(false))[part];
            }
            catch (PostgresException refused) when (IsRefusal(refused, connection))
            {
                last ??= refused;
                refusedParts |= 1 << part;
                fatal.Acquit(generation, 1 << part);
            }
        }

        var askable = asked & ~refusedParts;
        Volatile.Write(ref _known, new Known(generation, Askable(generation) & ~refusedParts));
        if (last is not null)
        {
            Warn(askable, last.MessageText);
        }

        WarnOfFatal(generation, askable);
        return Read(answers);
    }

    private int Askable(int generation) => Volatile.Read(ref _known) is var known && known.Generation == generation ? known.Parts : All;

    private void WarnOfFatal(int generation, int askable)
    {
        if (Volatile.Read(ref _hasWarned) == 0 && fatal.NoteAnswer(generation) is { } found)
        {
            Warn(askable & ~found.LeftOut, found.Words, found.LeftOut);
        }
    }

    private void Warn(int askable, string words, int fatalQuestions = 0)
    {
        if (Interlocked.Exchange(ref _hasWarned, 1) == 0)
        {
            var what = _parts.Where((_, part) => (askable & (1 << part)) == 0).Select(part => part.Name)
                .Concat((fatalQuestions & FatalQuestions.Settings) != 0 ? ["pg_settings"] : [])
                .Concat((fatalQuestions & FatalQuestions.CurrentSetting) != 0 ? ["current_setting()"] : []);
            Log.IdentityNotAsked(logger, settings.Name, string.Join(", ", what), words, Lost(askable));
        }
    }

    private static string Lost(int askable) => (askable & 1) == 0
        ? "it cannot tell whether a pooler is in between, so it takes one to be, and no session of its own can be cancelled or ended from outside"
        : (askable & 0b111) != 0b111
            ? "none of its sessions can be proven to be its own, so none is cancelled or ended from outside, nor asked about"
            : askable != All
                ? "the role of the server is what it reports of itself or shows (SHOW), if it does"
                : "whether the timeouts are in force is told by less";

    private async ValueTask<string[]> QueryAsync(NpgsqlConnection connection, int asked, int generation, bool blocking, CancellationToken cancellationToken)
    {
        // One text, so that it is one scalar: readers have no blocking form of everything.
        var fields = _parts.Select((part, index) => (asked & (1 << index)) != 0 ? $"coalesce(({part.Sql})::text, '')" : "''");
        var command = Housekeeping.Command("SELECT " + string.Join(" || '|' || ", fields), connection);
        await using var disposal = command.ConfigureAwait(false);

        // For those who block: nobody can cancel them.
        command.CommandTimeout = (int)Math.Ceiling(settings.ConnectTimeout.TotalSeconds);
        try
        {
            var answer = blocking ? command.ExecuteScalar() : await command.ExecuteScalarAsync(cancellationToken).ConfigureAwait(false);
            fatal.NoteAnswer(generation);
            fatal.Acquit(generation, asked);
            var answers = (answer as string)?.Split('|') ?? [];
            return [.. answers.Concat(Enumerable.Repeat("", _parts.Length)).Take(_parts.Length)];
        }
        catch (NpgsqlException end) when (!(end is PostgresException refused && IsRefusal(refused, connection)) && fatal.NoteEnd(generation, asked, end))
        {
            throw new QuestionEndedSessionException(end);
        }
    }

    private sealed record Part(string Name, string Sql);

    private sealed record Known(int Generation, int Parts);
}
