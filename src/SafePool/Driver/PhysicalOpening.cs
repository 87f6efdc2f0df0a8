using System.Data;
using Microsoft.Extensions.Logging;
using Npgsql;
using SafePool.Driver.Contract;
using SafePool.Driver.Control;
using SafePool.Driver.Hosts;
using SafePool.Driver.Poolers;
using SafePool.Logging;
using SafePool.Options;
using SafePool.Reports;
using SafePool.Time;

namespace SafePool.Driver;

/// <summary>Opens one physical connection: connects, asks who is there, finds out what stands in between, greets the session.</summary>
internal sealed class PhysicalOpening(
    PoolSettings settings,
    ServerPath path,
    ServerHosts hosts,
    PhysicalConnections physicals,
    HostRoles roles,
    FatalQuestions fatal,
    Hooks hooks,
    TimeProvider clock,
    ILogger logger) : IDisposable
{
    // A name that leads to a pooler and to a server by turns must not cost all connections every time.
    private static readonly TimeSpan _mostOften = TimeSpan.FromMinutes(1);

    private readonly SessionGreeting _greeting = new(settings, fatal, hooks);
    private readonly IdentityQuestion _question = new(settings, fatal, logger);
    private readonly PathFinder _finder = new(settings, path, hosts, new SessionGreeting(settings, fatal, hooks), clock, logger);
    private readonly HostSearch _search = new(settings, hosts, physicals);
    private long _wasDirectAgainAt = long.MinValue;

    public ValueTask<OpenedConnection> OpenAsync(OpenAttempt attempt)
        => hosts.Chooses
            ? _search.OpenAsync(OpenAtAsync, attempt)
            : OpenAtAsync(hosts.Only!, isWelcome: null, attempt);

    public async ValueTask KnockAsync(bool isDoubtful, bool blocking, CancellationToken cancellationToken)
    {
        try
        {
            if (hosts.Only is { } only)
            {
                await only.Knock.AskAsync(isDoubtful, blocking, cancellationToken).ConfigureAwait(false);
            }
            else
            {
                await _search.KnockAsync(isDoubtful, blocking, cancellationToken).ConfigureAwait(false);
            }
        }
        catch (PostgresException refused) when (PoolerErrors.KindOf(refused) == PoolerErrorKind.StartupParameterRefused)
        {
            // A pooler has come in between. The open finds out whether it gets in without them.
        }
        catch (PostgresException refused) when (PoolerErrors.Explain(refused) is { } explained)
        {
            throw explained;
        }
    }

    public void Dispose() => _finder.Dispose();

    private async ValueTask<OpenedConnection> OpenAtAsync(ServerDataSource host, Func<HostRole, bool>? isWelcome, OpenAttempt attempt)
    {
        host.NoteOpening(1);
        try
        {
            while (true)
            {
                var driver = host.Driver;
                var source = driver.Source;
                try
                {
                    attempt.Driver = driver;
                    if (await TryOpenAsync(host, driver, isWelcome, attempt).ConfigureAwait(false) is { } opened)
                    {
                        return opened;
                    }
                }
                catch (PostgresException refused)
                {
                    // Once more if it is worth it.
                    if (!_finder.TryDoWithoutOptions(refused, host, source))
                    {
                        throw PoolerErrors.Explain(refused) is { } explained && isWelcome is null ? explained : refused;
                    }
                }
                catch (ObjectDisposedException) when (source != host.Current)
                {
                    // Replaced in the meantime.
                }
            }
        }
        finally
        {
            host.NoteOpening(-1);
        }
    }

    /// <summary>Opens a connection of this data source. Null when the pool needs another one, as it turns out.</summary>
    private async ValueTask<OpenedConnection?> TryOpenAsync(
        ServerDataSource host, DriverPool driver, Func<HostRole, bool>? isWelcome, OpenAttempt attempt)
    {
        var generation = physicals.Generation;
        var connection = driver.Source.CreateConnection();
        using var share = isWelcome is null ? null : new HostShare(settings.TimeoutForEachHost, clock, attempt.Token);
        var token = share?.Token ?? attempt.Token;
        try
        {
            await ConnectAsync(connection, attempt.IsBlocking, token).ConfigureAwait(false);
        }
        catch (Exception error)
        {
            fatal.NoteOutage();
            await connection.DisposeAsync().ConfigureAwait(false);
            throw InTime(host, share, error);
        }

        if (physicals.Find(connection.PostgresParameters) is { } known)
        {
            return new OpenedConnection(connection, known, IsNew: false);
        }

        // Before anybody is asked anything: should the attempt be given up, the pool has it in hand.
        var opened = Register(connection, host, driver, generation);
        if (!attempt.TryConnect(opened))
        {
            return opened with { Failure = attempt.OutOfTime() };
        }

        try
        {
            await AskAsync(opened, generation, attempt.IsBlocking, token).ConfigureAwait(false);
        }
        catch (QuestionEndedSessionException ended)
        {
            return await AgainAsync(opened, host, ended, attempt).ConfigureAwait(false);
        }
        catch (Exception error)
        {
            var failure = Explained(connection, error);
            NoteBad(host, failure);
            return isWelcome is not null && await TryLeaveAsync(opened, host, attempt, waits: false).ConfigureAwait(false)
                ? throw InTime(host, share, error)
                : opened with { Failure = failure };
        }

        if (isWelcome?.Invoke(opened.Physical.Role) is false)
        {
            return await TryLeaveAsync(opened, host, attempt, waits: true).ConfigureAwait(false)
                ? throw new WrongRoleException(host.Name, opened.Physical.Role)
                : opened with { Failure = attempt.OutOfTime() };
        }

        return await GreetAsync(opened, host, driver.Source, generation, attempt).ConfigureAwait(false);
    }

    /// <summary>The session ended when it was asked something that nobody has to answer: null, for another connection, if there is time for it.</summary>
    private async ValueTask<OpenedConnection?> AgainAsync(OpenedConnection opened, ServerDataSource host, QuestionEndedSessionException ended, OpenAttempt attempt)
    {
        if (!attempt.HookToken.IsCancellationRequested && await TryLeaveAsync(opened, host, attempt, waits: true).ConfigureAwait(false))
        {
            return null;
        }

        fatal.NoteOutage();
        return opened with { Failure = Explained(opened.Connection, ended.InnerException!) };
    }

    /// <summary>What a host that has only a share of the time failed with.</summary>
    private Exception InTime(ServerDataSource host, HostShare? share, Exception error)
        => share?.IsOver is true
            ? new NpgsqlException(
                $"{host.Name} did not answer within its share of ConnectTimeout ({Sentences.Duration(settings.TimeoutForEachHost)}).",
                new TimeoutException(error.Message, error))
            : error;

    private static async ValueTask ConnectAsync(NpgsqlConnection connection, bool blocking, CancellationToken cancellationToken)
    {
        if (blocking)
        {
            connection.Open();
        }
        else
        {
            await connection.OpenAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>Ends a connection that belongs to nobody. Never throws.</summary>
    private static async ValueTask EndAsync(NpgsqlConnection connection, ServerDataSource host, bool blocking)
    {
        try
        {
            if (connection.FullState == ConnectionState.Open
                && !(blocking ? PhysicalEnd.Make(connection) : await OwnThread.RunAsync(() => PhysicalEnd.Make(connection)).ConfigureAwait(false)))
            {
                // Nobody may have it, and it lies there now.
                host.Clear();
            }
        }
        catch (Exception)
        {
            // It did not bear its end: the next words would not reach it either.
            host.Clear();
        }
        finally
        {
            connection.Dispose();
        }
    }

    /// <summary>Who the session is, and what its server is.</summary>
    private async ValueTask AskAsync(OpenedConnection opened, int generation, bool blocking, CancellationToken cancellationToken)
    {
        var session = await _question.AskAsync(opened.Connection, generation, blocking, cancellationToken).ConfigureAwait(false);
        var physical = opened.Physical;
        (physical.Identity, physical.IsDirect) = (session, session.ProcessId == opened.Connection.ProcessID);
        physical.Role = await RoleQuestion.OfNewAsync(opened.Connection, physical, settings, blocking, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Leaves a host whose session is of no use, for the next one. False when the attempt was given up meanwhile: then whoever did has it in hand.</summary>
    private async ValueTask<bool> TryLeaveAsync(OpenedConnection opened, ServerDataSource host, OpenAttempt attempt, bool waits)
    {
        if (!attempt.TryReconnect())
        {
            return false;
        }

        physicals.Disown(opened.Physical);
        var ending = EndAsync(opened.Connection, host, attempt.IsBlocking && waits).AsTask();
        if (waits)
        {
            await ending.ConfigureAwait(false);
        }

        // Otherwise it is not waited for: a server that is silent must not keep the other hosts waiting.
        return true;
    }

    /// <summary>Finds out what stands in between, and lets the user greet the session. Null when the pool needs another connection, of another data source.</summary>
    private async ValueTask<OpenedConnection?> GreetAsync(
        OpenedConnection opened, ServerDataSource host, NpgsqlDataSource source, int generation, OpenAttempt attempt)
    {
        try
        {
            await ExploreAsync(opened, host, source, generation, attempt).ConfigureAwait(false);
            if (source != host.Current && attempt.TryReconnect())
            {
                // Its data source is disposed, so this ends it; or the next word, should it have begun in the midst of that.
                opened.Connection.Close();
                source.Clear();
                if (opened.Physical.Generation == physicals.Generation)
                {
                    physicals.Disown(opened.Physical);
                }
                else
                {
                    opened.Physical.IsRetired = true;
                    physicals.CountClosed();
                }

                return null;
            }

            if (!attempt.TryEnterHook())
            {
                throw attempt.OutOfTime();
            }

            await _greeting.GreetAsync(opened.Connection, attempt.IsBlocking, attempt.HookToken).ConfigureAwait(false);
            if (opened.Connection.FullState != ConnectionState.Open)
            {
                // A hook may have swallowed what it met.
                throw new NpgsqlException("The connection broke while it was being prepared.", new IOException());
            }

            NoteRole(host, opened.Physical.Role);
            return opened;
        }
        catch (QuestionEndedSessionException ended)
        {
            return await AgainAsync(opened, host, ended, attempt).ConfigureAwait(false);
        }
        catch (Exception error)
        {
            var failure = Explained(opened.Connection, error);
            NoteBad(host, failure);
            return opened with { Failure = failure };
        }
    }

    private async ValueTask ExploreAsync(OpenedConnection opened, ServerDataSource host, NpgsqlDataSource source, int generation, OpenAttempt attempt)
    {
        var physical = opened.Physical;
        if (path.IsKnown && physical.Identity.ProcessId is not null && IsContradicted(host, physical.IsDirect))
        {
            path.Doubt();
        }

        host.WasDirect = physical.IsDirect;
        if (!path.IsKnown)
        {
            await _finder.ExploreAsync(opened.Connection, host, source, physical.Identity, generation, attempt.IsBlocking, attempt.Token).ConfigureAwait(false);
        }
        else if (!physical.IsDirect)
        {
            await _finder.AskAgainAsync(opened.Connection, host, source, physical.Identity, generation, attempt.IsBlocking, attempt.Token).ConfigureAwait(false);
        }
    }

    /// <summary>A pooler where there was none is heeded at once: our words would reach strangers. The other way round only for a host that had one.</summary>
    private bool IsContradicted(ServerDataSource host, bool isDirect)
    {
        if (!isDirect || path.Kind == PathKind.Direct)
        {
            return !isDirect && path.Kind == PathKind.Direct;
        }

        var last = Volatile.Read(ref _wasDirectAgainAt);
        return host.WasDirect is false
            && (last == long.MinValue || clock.GetElapsedTime(last) >= _mostOften)
            && Interlocked.CompareExchange(ref _wasDirectAgainAt, clock.GetTimestamp(), last) == last;
    }

    private OpenedConnection Register(NpgsqlConnection connection, ServerDataSource host, DriverPool driver, int generation)
    {
        DriverContractCheck.OfProcess.LookAt(connection, settings.Name, logger);
        host.Knock.NoteOpened();
        hosts.Newest = host;
        var physical = physicals.Register(connection.PostgresParameters, generation, isDirect: false);
        (physical.Host, physical.Server, physical.Driver) = (HostName.Of(connection), host, driver);
        return new OpenedConnection(connection, physical, IsNew: true);
    }

    private static void NoteBad(ServerDataSource host, Exception failure)
    {
        if (SqlStates.IsCuredByWaiting(failure))
        {
            host.Standing.NoteBad();
        }
    }

    private void NoteRole(ServerDataSource host, HostRole role)
    {
        var before = host.Standing.NoteGood(role);
        if (before == HostRole.Unknown || role == HostRole.Unknown || before == role)
        {
            return;
        }

        // Sessions of the old role are asked themselves: behind one name there may be several servers.
        roles.Suspect();
        if (physicals.At(host).All(physical => physical.Role == role || physical.Role == HostRole.Unknown))
        {
            Log.RoleChanged(logger, settings.Name, host.Name.ToString(), before.Words(), role.Words());
        }
    }

    /// <summary>Of a connection that broke in between Npgsql says in its own way that it is not open: an outage like any other.</summary>
    private static Exception Explained(NpgsqlConnection connection, Exception error)
        => error is InvalidOperationException && connection.FullState != ConnectionState.Open
            ? new NpgsqlException("The connection broke while it was being prepared.", new IOException(error.Message, error))
            : PoolerErrors.Explain(error) ?? error;
}
