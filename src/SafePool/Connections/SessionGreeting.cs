using System.Globalization;
using Npgsql;
using SafePool.Options;

namespace SafePool.Connections;

/// <summary>What is said to every new session before anybody gets it.</summary>
internal sealed class SessionGreeting(PoolSettings settings)
{
    /// <summary>The backend that serves a session at this moment. Behind a pooler it is not the one whose id the connection reports.</summary>
    /// <param name="connection">Open.</param>
    /// <param name="blocking">Completes synchronously.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <param name="turn">For whoever asks several times: makes each question another one, so that Npgsql does not prepare it, which poolers may not bear.</param>
    public async ValueTask<int> AskBackendIdAsync(
        NpgsqlConnection connection, bool blocking, CancellationToken cancellationToken, int turn = 0)
    {
        const string WhoAreYou = "SELECT pg_backend_pid()::text";
        var question = turn == 0 ? WhoAreYou : string.Create(CultureInfo.InvariantCulture, $"{WhoAreYou} /* {turn} */");
        var answer = await AskAsync(connection, question, null, blocking, cancellationToken).ConfigureAwait(false);
        return int.Parse(answer!, CultureInfo.InvariantCulture);
    }

    /// <summary>Which of the pool's timeouts are not in force, in words; empty when all are.</summary>
    public async ValueTask<string> FindMissingAsync(NpgsqlConnection connection, bool blocking, CancellationToken cancellationToken)
    {
        var missing = new List<string>();
        foreach (var timeout in settings.SessionTimeouts)
        {
            // What SHOW says once the session is reset, as a plain number of milliseconds: what somebody else has left behind in a shared session does not count.
            const string Question = "SELECT reset_val FROM pg_settings WHERE name = $1";
            var actual = await AskAsync(connection, Question, timeout.Parameter, blocking, cancellationToken).ConfigureAwait(false);
            if (actual != timeout.Milliseconds)
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
            await Hooks.RunAsync(hook, connection, blocking, cancellationToken).ConfigureAwait(false);
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

    private async ValueTask<string?> AskAsync(
        NpgsqlConnection connection, string question, string? parameter, bool blocking, CancellationToken cancellationToken)
    {
        var command = Housekeeping.Command(question, connection);
        await using var disposal = command.ConfigureAwait(false);

        // For those who block: nobody can cancel them.
        command.CommandTimeout = (int)Math.Ceiling(settings.ConnectTimeout.TotalSeconds);
        if (parameter is not null)
        {
            command.Parameters.Add(new NpgsqlParameter<string> { TypedValue = parameter });
        }

        return (string?)(blocking ? command.ExecuteScalar() : await command.ExecuteScalarAsync(cancellationToken).ConfigureAwait(false));
    }
}
