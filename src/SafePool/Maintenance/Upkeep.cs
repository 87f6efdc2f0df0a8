using Microsoft.Extensions.Logging;
using SafePool.Admission;
using SafePool.Connections;
using SafePool.Leaks;
using SafePool.Options;
using SafePool.Telemetry;

namespace SafePool.Maintenance;

/// <summary>What the pool does for itself at every tick, one step after the other, never two ticks at once.</summary>
/// <remarks>Idle connections are taken one at a time, as a rent would take them, and none while anybody waits.</remarks>
internal sealed class Upkeep(PoolParts parts, ConnectionOpener opener, ConnectionReturner returner, DroppedLeases dropped)
{
    private static readonly TimeSpan _longestFillPause = TimeSpan.FromSeconds(30);

    private readonly IdleRetirement _retirement = new(parts, returner);
    private readonly IdleSweep _sweep = new(parts, opener, returner);
    private readonly LowWaterMark _spare = new(parts.Clock, parts.Settings.IdleTimeout);
    private int _isRunning;
    private long _nextFill = long.MinValue;
    private TimeSpan _fillPause = MaintenanceLoop.Period;

    /// <summary>Runs one tick, unless the previous one is still at it.</summary>
    public async Task RunAsync()
    {
        if (Interlocked.Exchange(ref _isRunning, 1) == 1)
        {
            return;
        }

        try
        {
            dropped.Check();
            parts.Physicals.Refresh();
            await _sweep.RunAsync().ConfigureAwait(false);
            await RetireSurplusAsync().ConfigureAwait(false);
            Fill();
        }
        catch (Exception error)
        {
            Log.MaintenanceFailed(parts.Logger, parts.Settings.Name, error);
        }
        finally
        {
            Volatile.Write(ref _isRunning, 0);
        }
    }

    /// <summary>Retires what was idle all the time for <see cref="PoolSettings.IdleTimeout"/>, down to the minimum size.</summary>
    private async Task RetireSurplusAsync()
    {
        if (parts.Settings.IdleTimeout == Timeout.InfiniteTimeSpan)
        {
            return;
        }

        var counts = parts.Gate.Read();
        var surplus = Math.Min(_spare.Observe(counts.Idle), counts.Places - counts.Vacant - parts.Settings.MinSize);
        if (surplus <= 0)
        {
            return;
        }

        var retired = 0;
        while (retired < surplus && parts.Gate.TryTake(out var place))
        {
            if (parts.Source.TryTake() is { } connection)
            {
                await _retirement.RetireAsync(parts.Ledger[place], connection).ConfigureAwait(false);
                retired++;
            }
            else
            {
                opener.Vacate(place);
            }
        }

        _spare.Restart();
        _retirement.Note(retired, "not needed");
    }

    private void Fill()
    {
        if (parts.Clock.Exact < _nextFill)
        {
            return;
        }

        while (opener.Fill(parts.Settings.MinSize) is { } open)
        {
            _ = WatchFillAsync(open);
        }
    }

    private async Task WatchFillAsync(Task<Exception?> open)
    {
        if (await open.ConfigureAwait(false) is not { } error)
        {
            _fillPause = MaintenanceLoop.Period;
            return;
        }

        if (parts.Gate.IsClosed)
        {
            return;
        }

        var pause = _fillPause;
        _nextFill = parts.Clock.After(parts.Clock.Exact, pause);
        _fillPause = pause * 2 < _longestFillPause ? pause * 2 : _longestFillPause;
        Log.FillFailed(parts.Logger, parts.Settings.Name, parts.Settings.MinSize, pause.TotalSeconds, error);
    }
}
