using Microsoft.Extensions.Logging;
using Npgsql;
using SafePool.Admission;
using SafePool.Connections;
using SafePool.Diagnostics;
using SafePool.Leaks;
using SafePool.Leases;
using SafePool.Options;
using SafePool.Telemetry;

namespace SafePool.Maintenance;

/// <summary>What the pool does for itself at every tick, one step after the other, never two ticks at once.</summary>
/// <remarks>Idle connections are taken one at a time, as a rent would take them, and none while anybody waits.</remarks>
internal sealed class Upkeep(
    PoolParts parts, ConnectionOpener opener, ConnectionReturner returner, LeakDetector detector, DroppedLeases dropped, ExhaustionEpisode episode)
{
    // The share of its budget that the first waiter has left when the server is asked about the holders.
    private const double InspectionTime = 0.75;

    private static readonly TimeSpan _longestFillPause = TimeSpan.FromSeconds(30);

    private readonly ConnectionCare _care = new(parts.Source, parts.Physicals);
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
            detector.Scan();
            dropped.Check();
            WatchQueue();
            parts.Physicals.Refresh();
            if (parts.Physicals.NeedsCare)
            {
                await CareForIdleAsync().ConfigureAwait(false);
            }

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

    private void WatchQueue()
    {
        var counts = parts.Gate.Read();
        episode.Check(counts.Waiting);
        if (counts is not { Waiting: > 0, Idle: 0 })
        {
            return;
        }

        // What held opens back (a full server) may have passed.
        opener.Pump();
        if (parts.Inspector.IsEnabled && parts.Gate.FirstDeadline() - parts.Clock.Exact <= parts.Clock.After(0, parts.Settings.AcquireTimeout * InspectionTime))
        {
            // So that the answer is there before the first caller's time is up.
            parts.Inspector.Ask();
        }
    }

    /// <summary>Looks at every idle connection once: what is too old is retired.</summary>
    private async Task CareForIdleAsync()
    {
        var retired = 0;
        for (var rest = parts.Gate.Idle; rest > 0 && parts.Gate.TryTake(out var place); rest--)
        {
            if (parts.Source.TryTake() is not { } connection)
            {
                opener.Vacate(place);
            }
            else if (await _care.TryMakeFitAsync(connection, blocking: false).ConfigureAwait(false))
            {
                opener.RestAndHandOn(parts.Ledger[place], connection);
            }
            else
            {
                await RetireAsync(parts.Ledger[place], connection).ConfigureAwait(false);
                retired++;
            }
        }

        Note(retired, "too old");
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
                await RetireAsync(parts.Ledger[place], connection).ConfigureAwait(false);
                retired++;
            }
            else
            {
                opener.Vacate(place);
            }
        }

        _spare.Restart();
        Note(retired, "not needed");
    }

    /// <summary>As a return would: whatever happens, the place is settled, and not before the connection is surely gone.</summary>
    private ValueTask RetireAsync(LeaseSlot slot, NpgsqlConnection connection)
    {
        slot.Connection = connection;
        slot.Generation = parts.Physicals.Generation;
        return returner.ReturnAsync(slot, blocking: false, retire: true);
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

    private void Note(int retired, string reason)
    {
        if (retired > 0)
        {
            Log.Retired(parts.Logger, parts.Settings.Name, retired, reason);
        }
    }
}
