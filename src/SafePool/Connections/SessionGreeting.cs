using System.Globalization;
using Microsoft.Extensions.Logging;
using Npgsql;
using SafePool.Options;
using SafePool.Telemetry;

namespace SafePool.Connections;

/// <summary>What is said to every new session before anybody gets it.</summary>
internal sealed class SessionGreeting(PoolSettings settings, ILogger logger)
{
    private volatile bool _timeoutsVerified = settings.SessionTimeouts.Count == 0;

    /// <summary>The first words with a new session: whether no pooler is in between.</summary>
    public async ValueTask<bool> IsDirectAsync(NpgsqlConnection connection, bool blocking, CancellationToken cancellationToken)
    {
        // Behind a pooler the id that a connection reports is not a backend's: to cancel or end it would hit a stranger.
        const string WhoAreYou = "SELECT pg_backend_pid()::text";
        var backend = await AskAsync(connection, WhoAreYou, null, blocking, cancellationToken).ConfigureAwait(false);
        return backend == connection.ProcessID.ToString(CultureInfo.InvariantCulture);
    }

    /// <summary>The next: are the timeouts in force, then the user's hook.</summary>
    public async ValueTask GreetAsync(NpgsqlConnection connection, bool blocking, CancellationToken cancellationToken)
    {
        if (!_timeoutsVerified)
        {
            foreach (var timeout in settings.SessionTimeouts)
            {
                await VerifyAsync(connection, timeout, blocking, cancellationToken).ConfigureAwait(false);
            }

            _timeoutsVerified = true;
        }

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

    private async ValueTask VerifyAsync(NpgsqlConnection connection, SessionTimeout timeout, bool blocking, CancellationToken cancellationToken)
    {
        // What SHOW says, but as a plain number of milliseconds.
        const string Question = "SELECT setting FROM pg_settings WHERE name = $1";
        var actual = await AskAsync(connection, Question, timeout.Parameter, blocking, cancellationToken).ConfigureAwait(false);
        if (actual != timeout.Milliseconds)
        {
            Log.TimeoutNotInForce(logger, settings.Name, timeout.Parameter, actual ?? "unknown", timeout.Milliseconds);
        }
    }

    private async ValueTask<string?> AskAsync(
        NpgsqlConnection connection, string question, string? parameter, bool blocking, CancellationToken cancellationToken)
    {
        var command = new NpgsqlCommand(question, connection)
        {
            // For those who block: nobody can cancel them.
            CommandTimeout = (int)Math.Ceiling(settings.ConnectTimeout.TotalSeconds),
        };
        await using var disposal = command.ConfigureAwait(false);
        if (parameter is not null)
        {
            command.Parameters.Add(new NpgsqlParameter<string> { TypedValue = parameter });
        }

        return (string?)(blocking ? command.ExecuteScalar() : await command.ExecuteScalarAsync(cancellationToken).ConfigureAwait(false));
    }
}
