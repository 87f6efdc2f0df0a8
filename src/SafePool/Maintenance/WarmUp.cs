using Npgsql;
using SafePool.Diagnostics;
using SafePool.Leases;
using SafePool.Lifecycle;
using SafePool.Logging;
using SafePool.Time;

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
        var begun = parts.Clock.Exact;
        var deadline = parts.Clock.After(begun, parts.Settings.AcquireTimeout);
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

                if (parts.Clock.Exact >= deadline)
                {
                    ThrowIfInVain(begun);
                }

                // Others hold all the permits to open, or it is too early for the next attempt, or the pool is paused.
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

    /// <summary>Says what has kept it from opening the minimum. Not while others open: their opens are bounded, and may be what is missing.</summary>
    private void ThrowIfInVain(long begun)
    {
        var counts = parts.Gate.Read();
        if (counts.IsPaused)
        {
            throw new PoolPausedException(Snapshots.Of(parts, counts), parts.Clock.Since(begun));
        }

        if (parts.Opens.LastError is { } last)
        {
            throw last;
        }

        if (counts.Opening == 0)
        {
            throw parts.Room.Refusal ?? new NpgsqlException($"MinSize ({parts.Settings.MinSize}) connections were not open within AcquireTimeout.", new TimeoutException());
        }
    }

    private bool IsDone()
    {
        return parts.Gate.Read().Connections >= parts.Settings.MinSize;
    }
}
