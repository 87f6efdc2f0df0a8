using System.Data;
using Microsoft.Extensions.Logging;
using Npgsql;
using SafePool.Errors;
using SafePool.Options;
using SafePool.Telemetry;

namespace SafePool.Connections;

/// <summary>Opens one physical connection: connects, asks who is there, finds out what stands in between, greets the session.</summary>
internal sealed class PhysicalOpening(
    PoolSettings settings, ServerPath path, ServerHosts hosts, PhysicalConnections physicals, HostRoles roles, TimeProvider clock, ILogger logger) : IDisposable
{
    // A name that leads to a pooler and to a server by turns must not cost all connections every time.
    private static readonly TimeSpan _mostOften = TimeSpan.FromMinutes(1);

    private readonly SessionGreeting _greeting = new(settings);
    private readonly PathFinder _finder = new(settings, path, hosts, new SessionGreeting(settings), clock, logger);
    private readonly HostSearch _search = new(settings, hosts, physicals);
    private HostName? _newestHost;
    private long _wasDirectAgainAt = long.MinValue;

    /// <summary>Where the newest connection leads: of several hosts, the one to watch. Null before the first.</summary>
    public HostName? NewestHost => Volatile.Read(ref _newestHost);

    public ValueTask<OpenedConnection> OpenAsync(bool blocking, CancellationToken cancellationToken)
        => hosts.Chooses
            ? _search.OpenAsync(OpenAtAsync, blocking, cancellationToken)
            : OpenAtAsync(hosts.Only!, isWelcome: null, blocking, cancellationToken);

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

    private async ValueTask<OpenedConnection> OpenAtAsync(ServerDataSource host, Func<HostRole, bool>? isWelcome, bool blocking, CancellationToken cancellationToken)
    {
        host.NoteOpening(1);
        try
        {
            while (true)
            {
                var source = host.Current;
                try
                {
                    if (await TryOpenAsync(host, source, isWelcome, blocking, cancellationToken).ConfigureAwait(false) is { } opened)
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
        ServerDataSource host, NpgsqlDataSource source, Func<HostRole, bool>? isWelcome, bool blocking, CancellationToken cancellationToken)
    {
        var generation = physicals.Generation;
        var connection = source.CreateConnection();
        using var share = isWelcome is null ? null : new HostShare(settings.TimeoutForEachHost, clock, cancellationToken);
        var token = share?.Token ?? cancellationToken;
        var said = default(Introduction);
        Exception? failure = null;
        try
        {
            await ConnectAsync(connection, blocking, token).ConfigureAwait(false);
            said = new Introduction(connection.PostgresParameters, HostName.Of(connection));
            if (physicals.Find(said.Identity) is { } known)
            {
                return new OpenedConnection(connection, known, IsNew: false);
            }

            host.Knock.NoteOpened();
            Volatile.Write(ref _newestHost, said.Host);
            hosts.Newest = host;
            said = await AskAsync(connection, said, blocking, token).ConfigureAwait(false);
        }
        catch (Exception error) when (isWelcome is not null || said.Identity is null)
        {
            // Not waited for: a server that is silent must not keep the other hosts waiting.
            _ = EndAsync(connection, host, blocking: false).AsTask();
            if (share?.IsOver is true)
            {
                throw new NpgsqlException($"{host.Name} did not answer within its share of ConnectTimeout ({Sentences.Duration(settings.TimeoutForEachHost)}).", new TimeoutException(null, error));
            }

            throw;
        }
        catch (Exception error)
        {
            failure = Explained(connection, error);
        }

        if (isWelcome?.Invoke(said.Role) is false)
        {
            await EndAsync(connection, host, blocking).ConfigureAwait(false);
            throw new WrongRoleException(host.Name, said.Role);
        }

        try
        {
            if (failure is null && !await TryGreetAsync(connection, host, source, said, blocking, cancellationToken).ConfigureAwait(false))
            {
                return null;
            }
        }
        catch (Exception error)
        {
            failure = Explained(connection, error);
        }

        return Register(connection, host, said, generation, failure);
    }

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

    private async ValueTask<Introduction> AskAsync(NpgsqlConnection connection, Introduction said, bool blocking, CancellationToken cancellationToken)
    {
        var backendId = await _greeting.AskBackendIdAsync(connection, blocking, cancellationToken).ConfigureAwait(false);
        var role = await RoleQuestion.AskAsync(connection, settings.TimeoutForEachHost, blocking, cancellationToken).ConfigureAwait(false);
        return said with { BackendId = backendId, IsDirect = backendId == connection.ProcessID, Role = role };
    }

    /// <summary>False when the pool needs another connection, of another data source.</summary>
    private async ValueTask<bool> TryGreetAsync(
        NpgsqlConnection connection, ServerDataSource host, NpgsqlDataSource source, Introduction said, bool blocking, CancellationToken cancellationToken)
    {
        if (path.IsKnown && IsContradicted(host, said.IsDirect))
        {
            path.Doubt();
        }

        host.WasDirect = said.IsDirect;
        if (!path.IsKnown)
        {
            await _finder.ExploreAsync(connection, host, source, said.BackendId, blocking, cancellationToken).ConfigureAwait(false);
        }

        if (source != host.Current)
        {
            // Its data source is disposed, so this ends it.
            connection.Close();
            return false;
        }

        await _greeting.GreetAsync(connection, blocking, cancellationToken).ConfigureAwait(false);
        return connection.FullState == ConnectionState.Open

            // A hook may have swallowed what it met.
            ? true
            : throw new NpgsqlException("The connection broke while it was being prepared.", new IOException());
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

    private OpenedConnection Register(NpgsqlConnection connection, ServerDataSource host, Introduction said, int generation, Exception? failure)
    {
        if (failure is null)
        {
            NoteRole(host, said.Role);
        }
        else if (SqlStates.IsCuredByWaiting(failure))
        {
            host.Standing.NoteBad();
        }

        var physical = physicals.Register(said.Identity, generation, said.IsDirect);
        (physical.BackendId, physical.Host, physical.Server, physical.Role) = (said.BackendId, said.Host, host, said.Role);
        return new OpenedConnection(connection, physical, IsNew: true, failure);
    }

    private void NoteRole(ServerDataSource host, HostRole role)
    {
        var before = host.Standing.Role;
        host.Standing.NoteGood(role);
        if (before == HostRole.Unknown || role == HostRole.Unknown || before == role)
        {
            return;
        }

        // Sessions of the old role are asked themselves: behind one name there may be several servers.
        roles.Suspect();
        if (physicals.At(host).All(physical => physical.Role == role))
        {
            Log.RoleChanged(logger, settings.Name, host.Name.ToString(), before.Words(), role.Words());
        }
    }

    /// <summary>Of a connection that broke in between Npgsql says in its own way that it is not open: an outage like any other.</summary>
    private static Exception Explained(NpgsqlConnection connection, Exception error)
        => error is InvalidOperationException && connection.FullState != ConnectionState.Open
            ? new NpgsqlException("The connection broke while it was being prepared.", new IOException(error.Message, error))
            : PoolerErrors.Explain(error) ?? error;

    /// <param name="Identity">What Npgsql keeps for the physical connection.</param>
    /// <param name="Host">Where it leads.</param>
    /// <param name="BackendId">The backend that serves the session at this moment.</param>
    /// <param name="IsDirect">No pooler stands in between.</param>
    /// <param name="Role">What its server says of itself.</param>
    private readonly record struct Introduction(object Identity, HostName Host, int BackendId = 0, bool IsDirect = false, HostRole Role = HostRole.Unknown);
}
