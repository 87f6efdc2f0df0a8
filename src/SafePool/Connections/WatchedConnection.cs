using Npgsql;

namespace SafePool.Connections;

/// <summary>An open connection that waits on its socket whenever nobody talks over it, and so hears at once when the server goes away.</summary>
/// <remarks>
/// What waits is rooted in the socket and must not keep the pool alive: a pool that was dropped without being disposed is to be collected. So the listener is held weakly.
/// Thread-safety: one caller at a time for each member; loss is told from any thread, once.
/// </remarks>
internal sealed class WatchedConnection : IAsyncDisposable
{
    private readonly UnpooledConnection _server;
    private readonly WeakReference<Action<Exception>> _lost;
    private CancellationTokenSource _interruption = new();
    private Task _listening = Task.CompletedTask;

    private WatchedConnection(UnpooledConnection server, WeakReference<Action<Exception>> lost)
    {
        _server = server;
        _lost = lost;
        Host = HostName.Of(Connection);
    }

    /// <summary>To talk over after <see cref="InterruptAsync"/>.</summary>
    public NpgsqlConnection Connection => _server.Connection;

    public HostName Host { get; }

    public bool IsOpen => Connection.FullState is not (System.Data.ConnectionState.Closed or System.Data.ConnectionState.Broken);

    /// <summary>Opens one, and begins to listen.</summary>
    /// <param name="build">Makes a data source for this connection alone, without a pool.</param>
    /// <param name="time">The clock.</param>
    /// <param name="lost">Called once when the connection breaks. Held weakly: somebody else must keep the delegate.</param>
    /// <param name="cancellationToken">Gives up opening.</param>
    public static async Task<WatchedConnection> OpenAsync(
        Func<NpgsqlDataSource> build, TimeProvider time, WeakReference<Action<Exception>> lost, CancellationToken cancellationToken)
    {
        var watched = new WatchedConnection(await UnpooledConnection.OpenAsync(build, time, cancellationToken).ConfigureAwait(false), lost);
        watched.Listen();
        return watched;
    }

    /// <summary>Waits on the socket, until <see cref="InterruptAsync"/>.</summary>
    public void Listen()
    {
        _interruption.Dispose();
        _interruption = new CancellationTokenSource();
        using (ExecutionContext.SuppressFlow())
        {
            _listening = Task.Run(() => ListenAsync(_interruption.Token));
        }
    }

    /// <summary>Stops waiting, so that something can be said over the connection.</summary>
    public async Task InterruptAsync()
    {
        await _interruption.CancelAsync().ConfigureAwait(false);
        await _listening.ConfigureAwait(false);
    }

    public async ValueTask DisposeAsync()
    {
        await InterruptAsync().ConfigureAwait(false);
        _interruption.Dispose();
        await _server.DisposeAsync().ConfigureAwait(false);
    }

    /// <summary>Never throws.</summary>
    private async Task ListenAsync(CancellationToken interrupted)
    {
        try
        {
            while (true)
            {
                // Returns for every notification and notice, of which there are none for this session; the next wait follows.
                await Connection.WaitAsync(interrupted).ConfigureAwait(false);
            }
        }
        catch (OperationCanceledException) when (interrupted.IsCancellationRequested)
        {
            // Somebody has something to say.
        }
        catch (Exception error)
        {
            if (_lost.TryGetTarget(out var lost))
            {
                lost(error);
            }
        }
    }
}
