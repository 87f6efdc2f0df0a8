using System.Data;
using System.Transactions;
using Microsoft.Extensions.Logging;
using Npgsql;
using SafePool.Driver.Contract;
using SafePool.Driver.Control;
using SafePool.Driver.Hosts;
using SafePool.Driver.Poolers;
using SafePool.Options;
using SafePool.Time;

namespace SafePool.Driver;

/// <summary>Governs one <see cref="NpgsqlDataSource"/> for each host through their public API (design decision D1).</summary>
internal sealed class NpgsqlConnectionSource : IConnectionSource
{
    private const string Nothing = ";";

    // DISCARD ALL without what would pull prepared statements from under Npgsql.
    private const string ResetWords =
        "CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; UNLISTEN *; SELECT pg_advisory_unlock_all(); DISCARD SEQUENCES; DISCARD TEMP";

    // An open that finds nothing at rest would connect. With a token that is cancelled already it gives up instead, so it only ever takes.
    private static readonly CancellationToken _restingOnly = new(canceled: true);

    // In whole seconds, for statements of the pool's own: a server that takes longer is taken for silent, and the connection is retired.
    private static readonly int _patience = (int)Math.Ceiling(PoolSettings.ReturnPatience.TotalSeconds);

    private readonly CancellationTokenSource _disposing = new();
    private readonly PhysicalConnections _physicals;
    private readonly ServerPath _path;
    private readonly ServerHosts _hosts;
    private readonly ServerDataSource? _only;
    private readonly ControlConnection _control;
    private readonly PhysicalOpening _opening;
    private readonly TimeSpan _connectTimeout;

    public NpgsqlConnectionSource(PoolSettings settings, ServerPath path, PhysicalConnections physicals, HostRoles roles, Hooks hooks, TimeProvider clock, ILogger logger)
    {
        _physicals = physicals;
        _path = path;
        _connectTimeout = settings.ConnectTimeout;
        _hosts = new ServerHosts(settings, path, clock, logger);
        _only = _hosts.Only;
        _control = new ControlConnection(settings, clock, logger);
        _opening = new PhysicalOpening(settings, path, _hosts, physicals, roles, new FatalQuestions(), hooks, clock, logger);
        DriverContractCheck.OfProcess.Begin(settings.Name, logger);
    }

    // Of the data source, because the user may have changed it while that was built.
    public string? ApplicationName => ApplicationNames.Of(_hosts.All[0].Current.ConnectionString);

    public static NpgsqlDataSource Build(PoolSettings settings, string connectionString, DataSourceUse use) => ServerDataSource.Build(settings, connectionString, use);

    public ServerHosts Hosts => _hosts;

    public bool IsEnlisting => _hosts.IsEnlisting;

    public NpgsqlConnection? TryTakeEnlisting() => _only is { } only ? TakeOnto(only.Current.CreateConnection()) : HostTakes.TryTake(_hosts, TakeOnto);

    public NpgsqlConnection? TryTakeEnlistingAt(ServerDataSource host) => HostTakes.TryTakeAt(host, TakeOnto);

    public long? ProgressOf(NpgsqlConnection connection) => TransferProgress.Of(connection);

    public void NoteRested(NpgsqlConnection connection)
    {
        if (_only is null)
        {
            _hosts.Of(connection)?.NoteRested();
            _hosts.NoteArrival();
        }
    }

    public void NoteHandedOn() => _hosts.NoteArrival();

    public NpgsqlConnection Create() => HostTakes.First(_hosts).Current.CreateConnection();

    public NpgsqlConnection? TryTakeEnlisting(NpgsqlConnection onto)
    {
        if (TryOpen(onto))
        {
            return onto;
        }

        // Nothing is at rest, most often. Otherwise that object cannot have it: disposed, of a data source that was replaced, bound to a host that has none, led elsewhere by its user.
        var other = TryTakeEnlisting();
        if (other is null || _only is null)
        {
            return other;
        }

        // Or it came to rest in between.
        Close(other);
        return TryOpen(onto) ? onto : TryTakeEnlisting();
    }

    private bool TryOpen(NpgsqlConnection onto)
    {
        try
        {
            if (!onto.OpenAsync(_restingOnly).IsCompletedSuccessfully)
            {
                return false;
            }
        }
        catch (InvalidOperationException)
        {
            // It was taken away from its user and disposed, or the pool is still closing it.
            return false;
        }

        if (Identify(onto) is null)
        {
            // Its user has given it a string, the same perhaps: what lay at rest there is not the pool's.
            onto.Close();
            return false;
        }

        if (_only is null)
        {
            _hosts.Of(onto)?.NoteTaken();
        }

        return true;
    }

    public NpgsqlConnection? TryTakeWithin(Transaction transaction, PhysicalConnection? physical, NpgsqlConnection? onto, out bool isBroken)
    {
        // Npgsql keeps it with its own data source, also when that was replaced and disposed.
        var at = physical?.Server ?? HostTakes.First(_hosts);
        var driver = physical?.Driver ?? at.Driver;
        var wasBroken = false;
        var taken = onto is not null && driver == at.Driver && (_only is not null || _hosts.Of(onto) == at) ? TryTake(onto) : null;

        // That object may be of one that was replaced.
        taken ??= wasBroken ? null : TryTake(driver.Source.CreateConnection());
        isBroken = wasBroken;
        return taken;

        NpgsqlConnection? TryTake(NpgsqlConnection connection)
        {
            connection.StateChange += EndIfBroken;
            var found = AmbientTransaction.Within(transaction, () => TakeOnto(connection));
            connection.StateChange -= EndIfBroken;
            return found;
        }

        // An open that fails at its very end makes Npgsql count a broken connection as closed; the close of an open one would not.
        void EndIfBroken(object sender, StateChangeEventArgs change)
        {
            if (((NpgsqlConnection)sender).FullState == ConnectionState.Broken)
            {
                wasBroken = true;
                throw new NpgsqlException("The connection broke within its transaction.");
            }
        }
    }

    public bool TryBeginEnlisting() => _hosts.TryBeginEnlisting();

    public ValueTask<OpenedConnection> OpenAsync(OpenAttempt attempt)

        // What lies at rest at any host goes first, as Npgsql has it with one: never is there a connection more than there are places.
        => _only is null && TryTakeEnlisting() is { } rested && Identify(rested) is { } known
            ? new ValueTask<OpenedConnection>(new OpenedConnection(rested, known, IsNew: false))
            : _opening.OpenAsync(attempt);

    public ValueTask KnockAsync(bool isDoubtful, bool blocking, CancellationToken cancellationToken) => _opening.KnockAsync(isDoubtful, blocking, cancellationToken);

    public PhysicalConnection? Identify(NpgsqlConnection connection)
    {
        try
        {
            return (connection.FullState & ConnectionState.Open) != 0 ? _physicals.Find(connection.PostgresParameters) : null;
        }
        catch (Exception error) when (error is InvalidOperationException or NullReferenceException)
        {
            // Another flow has closed it between the two questions.
            return null;
        }
    }

    public ConnectionState StateOf(NpgsqlConnection connection)
    {
        try
        {
            return connection.FullState;
        }
        catch (Exception)
        {
            // Read from another flow in the moment in which it is closed for good, Npgsql contradicts itself.
            return ConnectionState.Closed;
        }
    }

    public void Close(NpgsqlConnection connection)
    {
        connection.Close();
        NoteRested(connection);
    }

    public Task CloseAsync(NpgsqlConnection connection)
    {
        var closing = connection.CloseAsync();
        NoteRested(connection);
        return closing;
    }

    public Task<bool> RetireAsync(NpgsqlConnection connection) => OwnThread.RunAsync(() => Retire(connection));

    public async ValueTask ExecuteAsync(NpgsqlConnection connection, string sql, bool blocking)
    {
        var command = Housekeeping.Command(sql, connection);
        await using var disposal = command.ConfigureAwait(false);
        command.CommandTimeout = _patience;
        if (blocking)
        {
            command.ExecuteNonQuery();
        }
        else
        {
            await command.ExecuteNonQueryAsync(CancellationToken.None).ConfigureAwait(false);
        }
    }

    public async ValueTask AskAsync(NpgsqlConnection connection, string sql, CancellationToken patience)
    {
        // Npgsql takes its own timeout for a sign that the server has gone, and clears its pool; what a token has cancelled breaks alone. But until the answers to a reset that rides along are
        // read it only notes the token's word: then the timeout, which must not come first, is what ends the wait.
        var command = Housekeeping.Command(sql, connection);
        await using var disposal = command.ConfigureAwait(false);
        command.CommandTimeout = _patience + 1;
        await command.ExecuteNonQueryAsync(patience).ConfigureAwait(false);
    }

    public Task<bool> DiscardAllAsync(NpgsqlConnection connection)
        => _path.ForbidsReset ? Task.FromResult(false) : OwnThread.RunAsync(() => DiscardAll(connection));

    public ValueTask ResetAsync(NpgsqlConnection connection, bool blocking)
        => _path.ForbidsReset ? ValueTask.CompletedTask : ExecuteAsync(connection, ResetWords, blocking);

    // Npgsql has it only in the blocking form, and SQL DEALLOCATE would leave Npgsql's own list wrong.
    public ValueTask UnprepareAllAsync(NpgsqlConnection connection, bool blocking)
    {
        if (_path.ForbidsReset)
        {
            return ValueTask.CompletedTask;
        }

        if (!blocking)
        {
            return new ValueTask(OwnThread.RunAsync(connection.UnprepareAll));
        }

        connection.UnprepareAll();
        return ValueTask.CompletedTask;
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
        catch (NpgsqlOperationInProgressException) when (Identify(connection) is { IsDirect: true } physical)
        {
            // COPY, or a wait for notifications: no command to ask.
            var asking = Task.Run(() => _control.CancelAsync(physical));
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

    public Task<SignalOutcome> CancelFromOutsideAsync(NpgsqlConnection connection)
        => Identify(connection) is { IsDirect: true } physical ? _control.CancelAsync(physical) : Task.FromResult(SignalOutcome.NotProvable);

    public Task<SignalOutcome> TerminateAsync(NpgsqlConnection connection)
        => Identify(connection) is { IsDirect: true } physical ? _control.TerminateAsync(physical) : Task.FromResult(SignalOutcome.NotProvable);

    public Task<IReadOnlyDictionary<NpgsqlConnection, BackendActivity>?> InspectAsync(IReadOnlyCollection<NpgsqlConnection> connections)
        => _control.InspectAsync(
            from connection in connections
            let physical = Identify(connection)
            where physical is { IsDirect: true }
            select (connection, physical));

    public Task<ServerCensus?> TakeCensusAsync() => _control.TakeCensusAsync(_physicals.FindServers());

    public Task<T> AskServerAsync<T>(Func<ControlSession, CancellationToken, Task<T>> act, CancellationToken cancellationToken)
        => _control.AskAsync(_physicals.FindServers(), _connectTimeout, act, cancellationToken);

    public OwnSessions FindSessions() => _physicals.FindSessions();

    public async Task WatchAsync(NpgsqlConnection connection, CancellationToken cancellationToken)
    {
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, _disposing.Token);
        try
        {
            while (true)
            {
                // Returns for every notification and notice, of which there are none for an idle session; the next wait follows.
                await connection.WaitAsync(either.Token).ConfigureAwait(false);
            }
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            await connection.CloseAsync().ConfigureAwait(false);
            throw;
        }
    }

    public Task<bool?> LeadsToStandbyAsync(CancellationToken cancellationToken)
        => _only is null ? Task.FromResult<bool?>(null) : _control.LeadsToStandbyAsync(cancellationToken);

    public Task<bool?> IsOnStandbyAsync(NpgsqlConnection connection) => RoleQuestion.IsOnStandbyAsync(connection);

    public bool TryBeginGrowing(int maxSize) => _hosts.TryBeginGrowing(maxSize);

    public void Clear(bool renews) => _hosts.Clear(renews);

    public void Dispose()
    {
        _disposing.Cancel();
        _hosts.Dispose();
        _opening.Dispose();

        // What it closes, it closes by itself.
        _ = _control.DisposeAsync().AsTask();
    }

    public async ValueTask DisposeAsync()
    {
        await _disposing.CancelAsync().ConfigureAwait(false);
        _hosts.Dispose();
        _opening.Dispose();
        await _control.DisposeAsync().ConfigureAwait(false);
    }

    private static NpgsqlConnection? TakeOnto(NpgsqlConnection connection)
    {
        var opening = connection.OpenAsync(_restingOnly);
        if (opening.IsCompletedSuccessfully)
        {
            return connection;
        }

        _ = opening.Exception; // Observed: that there was nothing to take is not news.
        return null;
    }

    private bool Retire(NpgsqlConnection connection)
    {
        var physical = Identify(connection);
        var isGone = PhysicalEnd.Make(connection);
        physical?.IsRetired = isGone;
        return isGone;
    }

    private bool DiscardAll(NpgsqlConnection connection)
    {
        const string Discard = "DISCARD ALL";
        var wasOpen = false;
        try
        {
            Execute(connection, Discard);
        }
        catch (PostgresException error)
            when (error.SqlState is PostgresErrorCodes.ActiveSqlTransaction or PostgresErrorCodes.InFailedSqlTransaction)
        {
            // A ROLLBACK in advance would save this, and leave a warning in the server's log for every return without a transaction.
            Execute(connection, "ROLLBACK");
            Execute(connection, Discard);
            wasOpen = true;
        }

        // Second, because Npgsql may prepare what goes through it, DISCARD ALL included.
        connection.UnprepareAll();
        return wasOpen;
    }

    private void Execute(NpgsqlConnection connection, string sql) => Synchronously.Result(ExecuteAsync(connection, sql, blocking: true));
}
