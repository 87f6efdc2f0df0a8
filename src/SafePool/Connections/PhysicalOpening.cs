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
    private readonly IdentityQuestion _question = new(settings, logger);
    private readonly PathFinder _finder = new(settings, path, server, new SessionGreeting(settings), clock, logger);
    private readonly Knock _knock = new(settings, server, clock);

    /// <summary>Of several hosts another one may have become the primary: the next open asks them all.</summary>
    public static void ForgetHosts(NpgsqlDataSource source) => (source as NpgsqlMultiHostDataSource)?.ClearDatabaseStates();

    public async ValueTask<OpenedConnection> OpenAsync(OpenAttempt attempt)
    {
        while (true)
        {
            var source = server.Current;
            try
            {
                if (await TryOpenAsync(source, attempt).ConfigureAwait(false) is { } opened)
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
    private async ValueTask<OpenedConnection?> TryOpenAsync(NpgsqlDataSource source, OpenAttempt attempt)
    {
        var (blocking, cancellationToken) = (attempt.IsBlocking, attempt.Token);
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

        // Before anybody is asked anything: should the attempt be given up, the pool has it in hand.
        var physical = physicals.Register(identity, generation, isDirect: false);
        physical.Host = host;
        if (!attempt.TryConnect(new OpenedConnection(connection, physical, IsNew: true)))
        {
            return new OpenedConnection(connection, physical, IsNew: true, attempt.OutOfTime());
        }

        Exception? failure = null;
        try
        {
            var session = await _question.AskAsync(connection, generation, blocking, cancellationToken).ConfigureAwait(false);
            (physical.Identity, physical.IsDirect) = (session, session.ProcessId == connection.ProcessID);
            if (!path.IsKnown)
            {
                await _finder.ExploreAsync(connection, source, session, blocking, cancellationToken).ConfigureAwait(false);
            }

            if (source != server.Current && attempt.TryReconnect())
            {
                // Its data source is disposed, so this ends it.
                connection.Close();
                physicals.CountClosed();
                return null;
            }

            if (!attempt.TryEnterHook())
            {
                throw attempt.OutOfTime();
            }

            await _greeting.GreetAsync(connection, blocking, attempt.HookToken).ConfigureAwait(false);
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

        return new OpenedConnection(connection, physical, IsNew: true, failure);
    }
}
