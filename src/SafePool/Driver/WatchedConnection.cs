using Npgsql;

namespace SafePool.Driver;

/// <summary>An idle connection of the pool that waits on its socket, and so hears at once when its session ends.</summary>
/// <remarks>
/// What waits is rooted in the socket and must not keep the pool alive: a pool that was dropped without being disposed is to be collected. So the listener is held weakly.
/// Its session's reset must have been sent: a wait that is cancelled while that is still under way breaks the connection.
/// </remarks>
/// <param name="source">Of the pool.</param>
/// <param name="connection">Open, idle, and nobody else's until <see cref="StopAsync"/> has ended.</param>
/// <param name="lost">Called once when the connection breaks. Held weakly: somebody else must keep the delegate.</param>
internal sealed class WatchedConnection(IConnectionSource source, NpgsqlConnection connection, WeakReference<Action<Exception>> lost) : IDisposable
{
    private readonly CancellationTokenSource _stopping = new();
    private Task _listening = Task.CompletedTask;
    private Exception? _error;

    /// <summary>What the connection has broken with; null while it is well.</summary>
    public Exception? Error => Volatile.Read(ref _error);

    /// <summary>Begins to wait on the socket. Called once.</summary>
    public void Listen()
    {
        using (ExecutionContext.SuppressFlow())
        {
            _listening = ListenAsync();
        }
    }

    /// <summary>Stops waiting. Takes a tenth of a millisecond, and says nothing to the server.</summary>
    public Task StopAsync()
    {
        _stopping.Cancel();
        return _listening;
    }

    /// <summary>Frees what stopping takes, once it has stopped or broken. The connection is its taker's.</summary>
    public void Dispose() => _stopping.Dispose();

    /// <summary>Never throws.</summary>
    private async Task ListenAsync()
    {
        try
        {
            await source.WatchAsync(connection, _stopping.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (_stopping.IsCancellationRequested)
        {
            // Somebody needs it.
        }
        catch (Exception error)
        {
            // First: whoever sets it to watch in this moment must find it.
            Volatile.Write(ref _error, error);
            if (lost.TryGetTarget(out var listener))
            {
                listener(error);
            }
        }
    }
}
