using SafePool.Diagnostics;
using SafePool.Lifecycle;
using SafePool.Logging;
using SafePool.Options;

namespace SafePool.Maintenance;

/// <summary>A change of options while the pool works.</summary>
internal sealed class SettingsChange(PoolParts parts, ConnectionOpener opener, Upkeep upkeep)
{
    private readonly Lock _turn = new();

    /// <param name="wish">From the options in force to those that are wanted; one change at a time.</param>
    public ReconfigureResult Make(Func<PoolSettings, PoolSettings> wish)
    {
        if (parts.Gate.IsClosed)
        {
            throw new PoolClosedException(Snapshots.Of(parts));
        }

        ReconfigureResult result;
        lock (_turn)
        {
            (var settings, result) = Reconfiguration.Merge(parts.Settings, wish(parts.Settings));
            if (parts.Source.TryBeginGrowing(settings.MaxSize))
            {
                // Before any place is added: Npgsql would make an open wait that it has no room for.
                opener.RetireAll();
            }

            parts.Apply(settings);
        }

        if (result.Applied.Length > 0)
        {
            Log.Reconfigured(parts.Logger, parts.Settings.Name, string.Join(", ", result.Applied));
        }

        if (result.Refused.Length > 0)
        {
            Log.ReconfigureRefused(parts.Logger, parts.Settings.Name, string.Join(", ", result.Refused));
        }

        if (parts.Gate.HasSurplus)
        {
            // What comes back from now on is looked at.
            parts.Physicals.RequireCare();
        }

        opener.Pump();
        parts.Loop.Wake();

        // At once, but neither on the caller's stack nor in his context: there may be a transaction in it.
        ThreadPool.UnsafeQueueUserWorkItem(static upkeep => _ = upkeep.RunAsync(), upkeep, preferLocal: false);
        return result;
    }
}
