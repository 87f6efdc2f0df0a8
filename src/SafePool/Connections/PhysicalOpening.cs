using System.Data;
using Microsoft.Extensions.Logging;
using Npgsql;
using SafePool.Options;

namespace SafePool.Connections;

/// <summary>Opens one physical connection: connects, finds out with the first what stands in between, greets the session.</summary>
internal sealed class PhysicalOpening(
    PoolSettings settings, ServerPath path, ServerDataSource server, PhysicalConnections physicals, TimeProvider clock, ILogger logger) : IDisposable
{
    private readonly SessionGreeting _greeting = new(settings);
    private readonly PathFinder _finder = new(settings, path, server, new SessionGreeting(settings), clock, logger);
    private readonly Knock _knock = new(settings, server, clock);
    private HostName? _newestHost;

    /// <summary>Where the newest connection leads: of several hosts, the one to watch. Null before the first.</summary>
    public HostName? NewestHost => Volatile.Read(ref _newestHost);

    /// <summary>Of several hosts another one may have become the primary: the next open asks them all.</summary>
    public static void ForgetHosts(NpgsqlDataSource source) => (source as NpgsqlMultiHostDataSource)?.ClearDatabaseStates();

    public async ValueTask<OpenedConnection> OpenAsync(bool blocking, CancellationToken cancellationToken)
    {
        while (true)
        {
            var source = server.Current;
            try
            {
                if (await TryOpenAsync(source, blocking, cancellationToken).ConfigureAwait(false) is { } opened)
                {
                    return opened;
                }
            }
            catch (PostgresException refused)
            {
                // Once more if it is worth it.
                if (_finder.TryDoWithoutOptions(refused, source))
                {
                    continue;
                }

                if (PoolerErrors.Explain(refused) is { } explained)
                {
                    throw explained;
                }

                throw;
            }
            catch (ObjectDisposedException) when (source != server.Current)
            {
                // Replaced in the meantime.
            }
        }
    }

    public async ValueTask KnockAsync(bool isDoubtful, bool blocking, CancellationToken cancellationToken)
    {
        try
        {
            await _knock.AskAsync(isDoubtful, blocking, cancellationToken).ConfigureAwait(false);
        }
        catch (PostgresException refused) when (PoolerErrors.Explain(refused) is { } explained)
        {
            throw explained;
        }
    }

    public void Dispose()
    {
        _finder.Dispose();
        _knock.Dispose();
    }

    /// <summary>Opens a connection of this data source. Null when the pool needs another one, as it turns out.</summary>
    private async ValueTask<OpenedConnection?> TryOpenAsync(NpgsqlDataSource source, bool blocking, CancellationToken cancellationToken)
    {
        var generation = physicals.Generation;
        var connection = source.CreateConnection();
        try
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
        catch (Exception error) when (error is OperationCanceledException || (SqlStates.IsCuredByWaiting(error) && !SqlStates.IsServerFull(error)))
        {
            ForgetHosts(source);
            throw;
        }

        var identity = connection.PostgresParameters;
        if (physicals.Find(identity) is { } known)
        {
            return new OpenedConnection(connection, known, IsNew: false);
        }

        DriverContractCheck.OfProcess.LookAt(connection, settings.Name, logger);
        _knock.NoteOpened();
        var host = HostName.Of(connection);
        Volatile.Write(ref _newestHost, host);
        var (backendId, isDirect) = (0, false);
        Exception? failure = null;
        try
        {
            backendId = await _greeting.AskBackendIdAsync(connection, blocking, cancellationToken).ConfigureAwait(false);
            isDirect = backendId == connection.ProcessID;
            if (!path.IsKnown)
            {
                await _finder.ExploreAsync(connection, source, backendId, blocking, cancellationToken).ConfigureAwait(false);
            }

            if (source != server.Current)
            {
                // Its data source is disposed, so this ends it.
                connection.Close();
                return null;
            }

            await _greeting.GreetAsync(connection, blocking, cancellationToken).ConfigureAwait(false);
            if (connection.FullState != ConnectionState.Open)
            {
                // A hook may have swallowed what it met.
                throw new NpgsqlException("The connection broke while it was being prepared.", new IOException());
            }
        }
        catch (Exception error)
        {
            // Of a connection that broke in between Npgsql says in its own way that it is not open: an outage like any other.
            failure = error is InvalidOperationException && connection.FullState != ConnectionState.Open
                ? new NpgsqlException("The connection broke while it was being prepared.", new IOException(error.Message, error))
                : PoolerErrors.Explain(error) ?? error;
        }

        var physical = physicals.Register(identity, generation, isDirect);
        (physical.BackendId, physical.Host) = (backendId, host);
        return new OpenedConnection(connection, physical, IsNew: true, failure);
    }
}
