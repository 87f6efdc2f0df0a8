using SafePool.Admission;
using SafePool.Connections;
using SafePool.Options;

namespace SafePool.Maintenance;

/// <summary>Opens the minimum on request, and says so when it cannot.</summary>
internal sealed class WarmUp(PoolSettings settings, PoolClock clock, AdmissionGate gate, ConnectionOpener opener, Func<PoolSnapshot> look)
{
    private static readonly TimeSpan _retryPause = TimeSpan.FromMilliseconds(100);

    public async Task RunAsync(CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        var deadline = clock.After(clock.Exact, settings.AcquireTimeout);
        List<Task<Exception?>> opens = [];
        while (true)
        {
            while (opener.Fill(settings.MinSize) is { } open)
            {
                opens.Add(open);
            }

            if (gate.IsClosed)
            {
                throw new PoolClosedException(look());
            }

            if (opens.Count == 0)
            {
                if (IsDone())
                {
                    return;
                }

                // Others hold all the permits to open.
                await Task.Delay(MaintenanceLoop.Period, clock.Provider, cancellationToken).ConfigureAwait(false);
                continue;
            }

            var ended = await Task.WhenAny(opens).WaitAsync(cancellationToken).ConfigureAwait(false);
            opens.Remove(ended);
            if (await ended.ConfigureAwait(false) is { } error)
            {
                if (gate.IsClosed || clock.Exact >= deadline)
                {
                    throw gate.IsClosed ? new PoolClosedException(look()) : error;
                }

                await Task.Delay(_retryPause, clock.Provider, cancellationToken).ConfigureAwait(false);
            }
        }
    }

    private bool IsDone()
    {
        var counts = gate.Read();
        return counts.Places - counts.Vacant - counts.Opening >= settings.MinSize;
    }
}
