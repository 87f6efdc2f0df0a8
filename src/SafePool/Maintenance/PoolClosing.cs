using SafePool.Diagnostics;
using SafePool.Leases;
using SafePool.Lifecycle;

namespace SafePool.Maintenance;

/// <summary>The end of a pool: nobody in, waiters out, idle connections closed, leases waited for. Final.</summary>
internal sealed class PoolClosing(PoolParts parts, ServerWatch watch)
{
    public void Close()
    {
        // The gate first: what comes back from now on is not kept. Then a new generation, so that it is closed.
        var idle = parts.Gate.Close();
        parts.Recorder.Record(FlightEventKind.PoolClosed);
        parts.Physicals.Advance();
        parts.Source.Clear();
        parts.Physicals.CountMissing(idle);
        watch.Relieve();
    }

    public async Task<DrainReport> DrainAsync(TimeSpan timeout, CancellationToken cancellationToken)
    {
        var begun = parts.Clock.Exact;
        Close();
        var drained = true;
        using var kept = new KeptPool(parts);
        try
        {
            await parts.Gate.AllBack.WaitAsync(timeout, parts.Clock.Provider, cancellationToken).ConfigureAwait(false);
        }
        catch (TimeoutException)
        {
            drained = false;
        }

        return new DrainReport(drained, parts.Holders.All(), parts.Clock.Since(begun));
    }
}
