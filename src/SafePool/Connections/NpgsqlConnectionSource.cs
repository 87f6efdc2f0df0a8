using System.Data;
using System.Globalization;
using Microsoft.Extensions.Logging;
using Npgsql;
using SafePool.Options;
using SafePool.Telemetry;

namespace SafePool.Connections;

/// <summary>Governs one <see cref="NpgsqlDataSource"/> through its public API (design decision D1).</summary>
internal sealed class NpgsqlConnectionSource : IConnectionSource
{
    // Npgsql answers a text-format export where it asked for binary by breaking the connection, and only this one.
    private const string BreakingCopy = "COPY (SELECT 1) TO STDOUT";
    private const string Nothing = ";";
    private const int MaxRetireAttempts = 3;

    // An open that finds nothing at rest would connect. With a token that is cancelled already it gives up instead, so it only ever takes.
    private static readonly CancellationToken _restingOnly = new(canceled: true);

    private readonly PoolSettings _settings;
    private readonly PhysicalConnections _physicals;
    private readonly ILogger _logger;
    private readonly NpgsqlDataSource _dataSource;
    private readonly ControlConnection _control;
    private volatile bool _timeoutsVerified;

    public NpgsqlConnectionSource(PoolSettings settings, PhysicalConnections physicals, TimeProvider clock, ILogger logger)
    {
        _settings = settings;
        _physicals = physicals;
        _logger = logger;
        _dataSource = Build(settings, settings.DataSourceString);
        _control = new ControlConnection(settings, clock, logger);
        _timeoutsVerified = settings.SessionTimeouts.Count == 0;
    }

    public static NpgsqlDataSource Build(PoolSettings settings, string connectionString)
    {
        var builder = new NpgsqlDataSourceBuilder(connectionString);
        settings.ConfigureDataSource?.Invoke(builder);
        return builder.Build();
    }

    public NpgsqlConnection? TryTake()
    {
        var connection = _dataSource.CreateConnection();
        var opening = connection.OpenAsync(_restingOnly);
        if (opening.IsCompletedSuccessfully)
        {
            return connection;
        }

        _ = opening.Exception; // Observed: that there was nothing to take is not news.
        return null;
    }

    public async ValueTask<OpenedConnection> OpenAsync(bool blocking, CancellationToken cancellationToken)
    {
        var generation = _physicals.Generation;
        var connection = _dataSource.CreateConnection();
        if (blocking)
        {
            connection.Open();
        }
        else
        {
            await connection.OpenAsync(cancellationToken).ConfigureAwait(false);
        }

        var identity = connection.PostgresParameters;
        if (_physicals.Find(identity) is { } known)
        {
            return new OpenedConnection(connection, known, IsNew: false);
        }

        try
        {
            var isDirect = await GreetAsync(connection, blocking, cancellationToken).ConfigureAwait(false);
            return new OpenedConnection(connection, _physicals.Register(identity, generation, isDirect), IsNew: true);
        }
        catch
        {
            await RetireAsync(connection, blocking).ConfigureAwait(false);
            throw;
        }
    }

    public PhysicalConnection? Identify(NpgsqlConnection connection)
        => (connection.FullState & ConnectionState.Open) != 0 ? _physicals.Find(connection.PostgresParameters) : null;

    public ConnectionState StateOf(NpgsqlConnection connection) => connection.FullState;

    public void Close(NpgsqlConnection connection) => connection.Close();

    public Task CloseAsync(NpgsqlConnection connection) => connection.CloseAsync();

    public async ValueTask<bool> RetireAsync(NpgsqlConnection connection, bool blocking)
    {
        var physical = Identify(connection);
        for (var attempt = 1; attempt <= MaxRetireAttempts && connection.FullState == ConnectionState.Open; attempt++)
        {
            try
            {
                using var neverMade = blocking
                    ? connection.BeginBinaryExport(BreakingCopy)
                    : await connection.BeginBinaryExportAsync(BreakingCopy).ConfigureAwait(false);
            }
            catch (ArgumentException)
            {
                // As wanted.
            }
            catch (PostgresException refused)
            {
                // A failed transaction refuses everything until it is rolled back; a tiny statement_timeout may hit even this.
                if (refused.SqlState == PostgresErrorCodes.InFailedSqlTransaction)
                {
                    await ExecuteAsync(connection, "ROLLBACK", blocking).ConfigureAwait(false);
                }
            }
            catch (NpgsqlException) when (connection.FullState == ConnectionState.Broken)
            {
                // By itself.
            }
        }

        var isBroken = connection.FullState == ConnectionState.Broken;
        physical?.IsRetired = isBroken;
        await CloseAsync(connection, blocking).ConfigureAwait(false);
        return isBroken;
    }

    public async ValueTask ExecuteAsync(NpgsqlConnection connection, string sql, bool blocking)
    {
        var command = new NpgsqlCommand(sql, connection);
        await using var disposal = command.ConfigureAwait(false);
        if (blocking)
        {
            command.ExecuteNonQuery();
        }
        else
        {
            await command.ExecuteNonQueryAsync(CancellationToken.None).ConfigureAwait(false);
        }
    }

    public async ValueTask<bool> UnprepareAllAsync(NpgsqlConnection connection, bool blocking)
    {
        try
        {
            await UnprepareAsync(connection, blocking).ConfigureAwait(false);
            return false;
        }
        catch (PostgresException error) when (error.SqlState == PostgresErrorCodes.InFailedSqlTransaction)
        {
            await ExecuteAsync(connection, "ROLLBACK", blocking).ConfigureAwait(false);
            await UnprepareAsync(connection, blocking).ConfigureAwait(false);
            return true;
        }
    }

    public async ValueTask CancelAsync(NpgsqlConnection connection, bool blocking)
    {
        try
        {
            // Refused while something runs, and the refusal names the command, whoever made it. If nothing runs any more this does nothing.
            await ExecuteAsync(connection, Nothing, blocking).ConfigureAwait(false);
        }
        catch (NpgsqlOperationInProgressException busy) when (busy.CommandInProgress is { } running)
        {
            // Opens a socket of its own to send the request, and blocks for it.
            if (blocking)
            {
                running.Cancel();
            }
            else
            {
                await Task.Run(running.Cancel).ConfigureAwait(false);
            }
        }
        catch (NpgsqlOperationInProgressException) when (Identify(connection) is { IsDirect: true })
        {
            // COPY, or a wait for notifications: no command to ask.
            var asking = Task.Run(() => _control.CancelAsync(connection));
            if (blocking)
            {
                asking.GetAwaiter().GetResult();
            }
            else
            {
                await asking.ConfigureAwait(false);
            }
        }
        catch (NpgsqlOperationInProgressException)
        {
            // The same behind a pooler: nobody to ask who would not hit a stranger.
        }
    }

    public Task<bool> TerminateAsync(NpgsqlConnection connection)
        => Identify(connection) is { IsDirect: true } ? _control.TerminateAsync(connection) : Task.FromResult(false);

    public void Clear() => _dataSource.Clear();

    public void Dispose()
    {
        _dataSource.Dispose();
        _control.Dispose();
    }

    public async ValueTask DisposeAsync()
    {
        await _dataSource.DisposeAsync().ConfigureAwait(false);
        _control.Dispose();
    }

    private static async ValueTask CloseAsync(NpgsqlConnection connection, bool blocking)
    {
        if (blocking)
        {
            connection.Close();
        }
        else
        {
            await connection.CloseAsync().ConfigureAwait(false);
        }
    }

    private static async ValueTask UnprepareAsync(NpgsqlConnection connection, bool blocking)
    {
        if (blocking)
        {
            connection.UnprepareAll();
        }
        else
        {
            // Npgsql has it only in the blocking form, and SQL DEALLOCATE would leave Npgsql's own list wrong.
            await Task.Run(connection.UnprepareAll).ConfigureAwait(false);
        }
    }

    /// <summary>The first words with a new session: are the timeouts in force, then the user's hook. Tells whether no pooler is in between.</summary>
    private async ValueTask<bool> GreetAsync(NpgsqlConnection connection, bool blocking, CancellationToken cancellationToken)
    {
        // Behind a pooler the id that a connection reports is not a backend's: to cancel or end it would hit a stranger.
        const string WhoAreYou = "SELECT pg_backend_pid()::text";
        var backend = await AskAsync(connection, WhoAreYou, null, blocking, cancellationToken).ConfigureAwait(false);
        if (!_timeoutsVerified)
        {
            foreach (var timeout in _settings.SessionTimeouts)
            {
                await VerifyAsync(connection, timeout, blocking, cancellationToken).ConfigureAwait(false);
            }

            _timeoutsVerified = true;
        }

        if (_settings.PhysicalConnectionOpened is { } hook)
        {
            await Hooks.RunAsync(hook, connection, blocking, cancellationToken).ConfigureAwait(false);
            await RefuseOpenTransactionAsync(connection, blocking, cancellationToken).ConfigureAwait(false);
        }

        return backend == connection.ProcessID.ToString(CultureInfo.InvariantCulture);
    }

    private static async ValueTask RefuseOpenTransactionAsync(NpgsqlConnection connection, bool blocking, CancellationToken cancellationToken)
    {
        try
        {
            // Npgsql knows whether the session is in a transaction, failed or not, and tells it by refusing another.
            var probe = blocking ? connection.BeginTransaction() : await connection.BeginTransactionAsync(cancellationToken).ConfigureAwait(false);
            await using var disposal = probe.ConfigureAwait(false);
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
            Log.TimeoutNotInForce(_logger, _settings.Name, timeout.Parameter, actual ?? "unknown", timeout.Milliseconds);
        }
    }

    private async ValueTask<string?> AskAsync(
        NpgsqlConnection connection, string question, string? parameter, bool blocking, CancellationToken cancellationToken)
    {
        var command = new NpgsqlCommand(question, connection)
        {
            // For those who block: nobody can cancel them.
            CommandTimeout = (int)Math.Ceiling(_settings.ConnectTimeout.TotalSeconds),
        };
        await using var disposal = command.ConfigureAwait(false);
        if (parameter is not null)
        {
            command.Parameters.Add(new NpgsqlParameter<string> { TypedValue = parameter });
        }

        return (string?)(blocking ? command.ExecuteScalar() : await command.ExecuteScalarAsync(cancellationToken).ConfigureAwait(false));
    }
}
