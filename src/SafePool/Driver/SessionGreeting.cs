using System.Globalization;
using Npgsql;
using SafePool.Options;

namespace SafePool.Driver;

/// <summary>What is said to every new session before anybody gets it.</summary>
internal sealed class SessionGreeting(PoolSettings settings, FatalQuestions fatal, Hooks hooks)
{
    /// <summary>The backend that serves a session at this moment: its process id, with the server on which that means something where the server says who it is.</summary>
    /// <param name="connection">Open.</param>
    /// <param name="withServer">The role may ask for the server.</param>
    /// <param name="blocking">Completes synchronously.</param>
    /// <param name="turn">Makes each question another one, so that Npgsql does not prepare it, which poolers may not bear.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <param name="patience">For an answer, where nobody can cancel it; null for <see cref="PoolSettings.ConnectTimeout"/>.</param>
    public async ValueTask<string> AskBackendAsync(
        NpgsqlConnection connection, bool withServer, bool blocking, int turn, CancellationToken cancellationToken, TimeSpan? patience = null)
    {
        var server = withServer ? $" || '@' || {ServerIdentity.Sql}::text" : "";
        var question = string.Create(CultureInfo.InvariantCulture, $"SELECT pg_backend_pid()::text{server} /* {turn} */");
        return (await AskAsync(connection, question, null, blocking, cancellationToken, patience).ConfigureAwait(false))!;
    }

    /// <summary>The same of a session that was greeted.</summary>
    public static string BackendOf(SessionIdentity session)
        => string.Create(CultureInfo.InvariantCulture, $"{session.ProcessId}{(session.Server is { } server ? string.Create(CultureInfo.InvariantCulture, $"@{server.StartedAt}") : "")}");

    /// <summary>Which of the pool's timeouts are not in force, in words; empty when all are.</summary>
    /// <param name="connection">Open.</param>
    /// <param name="areSaid">They were among the start-up options, and nothing that could drop them is in between: what cannot be asked is taken to be in force.</param>
    /// <param name="generation">Of the connection.</param>
    /// <param name="blocking">Completes synchronously.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="QuestionEndedSessionException">A question ended the session, and another one may tell more.</exception>
    public async ValueTask<string> FindMissingAsync(NpgsqlConnection connection, bool areSaid, int generation, bool blocking, CancellationToken cancellationToken)
    {
        // What SHOW says once the session is reset, as a plain number of milliseconds: what somebody else has left behind in a shared session does not count.
        const string OnceReset = "SELECT reset_val FROM pg_settings WHERE name = $1";

        // For a role that must not read the view. Of a session that nobody has used it is the same.
        const string Now = "SELECT (extract(epoch FROM current_setting($1, true)::interval) * 1000)::int8::text";

        var missing = new List<string>();
        foreach (var timeout in settings.SessionTimeouts)
        {
            var (wasAsked, actual) = await TryAskAsync(connection, FatalQuestions.Settings, OnceReset, timeout.Parameter, generation, blocking, cancellationToken).ConfigureAwait(false);
            if (!wasAsked)
            {
                (wasAsked, actual) = await TryAskAsync(connection, FatalQuestions.CurrentSetting, Now, timeout.Parameter, generation, blocking, cancellationToken).ConfigureAwait(false);
            }

            if (wasAsked ? actual != timeout.Milliseconds : !areSaid)
            {
                missing.Add($"{timeout.Parameter} is '{actual ?? "unknown"}' on the server, not {timeout.Milliseconds} ms");
            }
        }

        return string.Join(", ", missing);
    }

    /// <summary>The user's hook for a new session.</summary>
    public async ValueTask GreetAsync(NpgsqlConnection connection, bool blocking, CancellationToken cancellationToken)
    {
        if (settings.PhysicalConnectionOpened is { } hook)
        {
            await hooks.RunAsync(hook, nameof(ConnectionPoolOptions.PhysicalConnectionOpened), connection, blocking, cancellationToken).ConfigureAwait(false);
            await RefuseOpenTransactionAsync(connection, blocking, cancellationToken).ConfigureAwait(false);
        }
    }

    private static async ValueTask RefuseOpenTransactionAsync(NpgsqlConnection connection, bool blocking, CancellationToken cancellationToken)
    {
        try
        {
            // Npgsql knows whether the session is in a transaction, failed or not, and tells it by refusing another.
            if (blocking)
            {
                connection.BeginTransaction().Dispose();
            }
            else
            {
                var probe = await connection.BeginTransactionAsync(cancellationToken).ConfigureAwait(false);
                await probe.DisposeAsync().ConfigureAwait(false);
            }
        }
        catch (InvalidOperationException refused)
        {
            throw new InvalidOperationException(
                "The hook PhysicalConnectionOpened left a transaction open. Commit it, or roll it back, before the hook returns.", refused);
        }
    }

    private async ValueTask<(bool WasAsked, string? Answer)> TryAskAsync(
        NpgsqlConnection connection, int kind, string question, string parameter, int generation, bool blocking, CancellationToken cancellationToken)
    {
        if ((fatal.NotAsked(generation) & kind) != 0)
        {
            return (false, null);
        }

        try
        {
            var answer = await AskAsync(connection, question, parameter, blocking, cancellationToken).ConfigureAwait(false);
            fatal.Acquit(generation, kind);
            return (true, answer);
        }
        catch (PostgresException refused) when (IdentityQuestion.IsRefusal(refused, connection))
        {
            fatal.Acquit(generation, kind);
            return (false, null);
        }
        catch (NpgsqlException end) when (fatal.NoteEnd(generation, kind, end))
        {
            throw new QuestionEndedSessionException(end);
        }
    }

    private async ValueTask<string?> AskAsync(
        NpgsqlConnection connection, string question, string? parameter, bool blocking, CancellationToken cancellationToken, TimeSpan? patience = null)
    {
        var command = Housekeeping.Command(question, connection);
        await using var disposal = command.ConfigureAwait(false);

        // For those who block: nobody can cancel them.
        command.CommandTimeout = (int)Math.Ceiling((patience ?? settings.ConnectTimeout).TotalSeconds);
        if (parameter is not null)
        {
            command.Parameters.Add(new NpgsqlParameter<string> { TypedValue = parameter });
        }

        return (string?)(blocking ? command.ExecuteScalar() : await command.ExecuteScalarAsync(cancellationToken).ConfigureAwait(false));
    }
}
