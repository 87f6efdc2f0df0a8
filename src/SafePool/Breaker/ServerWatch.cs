using Microsoft.Extensions.Logging;
using SafePool.Connections;
using SafePool.Diagnostics;
using SafePool.Telemetry;

namespace SafePool.Breaker;

/// <summary>Hears when the server goes away, and retires everything idle before callers trip over it (<see cref="ConnectionPoolOptions.WatchServer"/>).</summary>
/// <remarks>
/// The control connection may break alone (an administrator ended it): then good connections are retired, which costs their opening and nothing else.
/// </remarks>
internal sealed class ServerWatch
{
    private readonly PoolParts _parts;
    private readonly ConnectionOpener _opener;

    // The control connection holds it weakly.
    private readonly Action<Exception> _onLost;
    private int _generation;

    public ServerWatch(PoolParts parts, ConnectionOpener opener)
    {
        _parts = parts;
        _opener = opener;
        _onLost = OnLost;
    }

    /// <summary>Sees to it that somebody listens; called by the maintenance loop.</summary>
    public void Look()
    {
        // While opens fail the attempts are rationed, and without connections there is nothing to protect.
        if (_parts.Settings.WatchServer
            && _parts.Breaker.IsWell
            && _parts.Gate.Read().Connections > 0)
        {
            // First: a connection that is opened now may be lost before the next look, and what there is now with it.
            Volatile.Write(ref _generation, _parts.Physicals.Generation);
            _parts.Source.KeepWatching(_onLost);
        }
    }

    private void OnLost(Exception error)
    {
        // Not if a lease broke first, or somebody cleared the pool: what there is now is newer than the loss then.
        if (!_parts.Gate.IsClosed && _opener.TryRetireNewest(Volatile.Read(ref _generation)))
        {
            _parts.Recorder.Record(FlightEventKind.ServerLost);
            Log.ServerLost(_parts.Logger, _parts.Settings.Name, error);
        }
    }
}
