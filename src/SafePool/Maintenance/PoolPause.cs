using SafePool.Diagnostics;
using SafePool.Leases;
using SafePool.Lifecycle;
using SafePool.Logging;

namespace SafePool.Maintenance;

/// <summary>A time without connections, for maintenance of the server; those who come wait for its end.</summary>
internal sealed class PoolPause(PoolParts parts, ConnectionOpener opener, ServerWatch watch)
{
    public async Task BeginAsync(CancellationToken cancellationToken)
    {
        if (parts.Gate.IsClosed)
        {
            throw new PoolClosedException(Snapshots.Of(parts));
        }

        // As when the pool closes: the gate first, then a new generation, so that what comes back is closed.
        if (parts.Gate.TryPause(out var idle))
        {
            parts.Recorder.Record(FlightEventKind.Paused);
            Log.Paused(parts.Logger, parts.Settings.Name);
            parts.Physicals.Advance();
            parts.Source.Clear(renews: true);
            parts.Physicals.CountMissing(idle);
            watch.Relieve();
        }

        // Whoever awaits this may be all that refers to the pool: the collector would take both.
        using var kept = new KeptPool(parts);
        await parts.Gate.AllVacant.WaitAsync(cancellationToken).ConfigureAwait(false);
    }

    public void End()
    {
        if (parts.Gate.Resume())
        {
            parts.Recorder.Record(FlightEventKind.Resumed);
            Log.Resumed(parts.Logger, parts.Settings.Name);
            opener.Pump();
            parts.Loop.Wake();
        }
    }
}
