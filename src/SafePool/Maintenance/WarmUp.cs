using SafePool.Admission;
using SafePool.Connections;
using SafePool.Diagnostics;
using SafePool.Options;
using SafePool.Telemetry;

namespace SafePool.Maintenance;

/// <summary>Opens the minimum on request, and says so when it cannot.</summary>
internal sealed class WarmUp(PoolParts parts, ConnectionOpener opener)
{
    private static readonly TimeSpan _retryPause = TimeSpan.FromMilliseconds(100);

    public async Task RunAsync(CancellationToken cancellationToken)
    {
        await FillAsync(cancellationToken).ConfigureAwait(false);
        await CompareWithLimitsAsync().WaitAsync(cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Warns when all instances together want more than there is. The server may not tell: then nothing is said.</summary>
    private async Task CompareWithLimitsAsync()
    {
        var wanted = (long)parts.Settings.MaxSize * parts.Settings.ExpectedInstances;
        if (parts.Physicals.TotalOpened > 0
            && await parts.Source.TakeCensusAsync().ConfigureAwait(false) is { IsDirect: true } census
            && wanted > census.Room)
        {
            Log.TooManyExpected(parts.Logger, parts.Settings.Name, parts.Settings.ExpectedInstances, parts.Settings.MaxSize, wanted, census.Limits);
        }
    }

    private async Task FillAsync(CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        var deadline = parts.Clock.After(parts.Clock.Exact, parts.Settings.AcquireTimeout);
        List<Task<Exception?>> opens = [];
        while (true)
        {
            while (opener.Fill(parts.Settings.MinSize) is { } open)
            {
                opens.Add(open);
            }

            if (parts.Gate.IsClosed)
            {
                throw new PoolClosedException(Snapshots.Of(parts));
            }

            if (opens.Count == 0)
            {
                if (IsDone())
                {
                    return;
                }

                if (parts.Clock.Exact >= deadline && parts.Opens.LastError is { } last)
                {
                    throw last;
                }

                // Others hold all the permits to open, or it is too early for the next attempt.
                await Task.Delay(MaintenanceLoop.Period, parts.Time, cancellationToken).ConfigureAwait(false);
                continue;
            }

            var ended = await Task.WhenAny(opens).WaitAsync(cancellationToken).ConfigureAwait(false);
            opens.Remove(ended);
            if (await ended.ConfigureAwait(false) is { } error)
            {
                if (parts.Gate.IsClosed || parts.Clock.Exact >= deadline)
                {
                    throw parts.Gate.IsClosed ? new PoolClosedException(Snapshots.Of(parts)) : error;
                }

                await Task.Delay(_retryPause, parts.Time, cancellationToken).ConfigureAwait(false);
            }
        }
    }

    private bool IsDone()
    {
        return parts.Gate.Read().Connections >= parts.Settings.MinSize;
    }
}
