using SafePool.Enlistments;
using SafePool.Options;

namespace SafePool.Connections;

/// <summary>Asks one idle connection whether it is on a standby. It is taken as a rent would take it.</summary>
internal sealed class IdleRole(PoolParts parts, RestingPlaces resting, ConnectionReturner returner)
{
    /// <summary>Null when nothing is idle, or there is no answer.</summary>
    public async Task<bool?> AskAsync()
    {
        if (!parts.Gate.TryTake(out var place))
        {
            return null;
        }

        var slot = parts.Ledger[place];
        if (parts.Source.TryTakeOutside() is not { } connection)
        {
            resting.VacateLost(place);
            return null;
        }

        var generation = parts.Physicals.Generation;
        var asking = parts.Source.IsOnStandbyAsync(connection);
        if (await ConnectionCare.IsOverAsync(asking, PoolSettings.ReturnPatience, parts.Clock, CancellationToken.None).ConfigureAwait(false))
        {
            resting.RestAndHandOn(slot, connection);
            return await asking.ConfigureAwait(false);
        }

        slot.Prepare(site: default, options: null);
        (slot.Connection, slot.Generation) = (connection, generation);
        returner.GiveUpOn(slot, IsFitAsync(asking));
        return null;
    }

    private static async Task<bool> IsFitAsync(Task<bool?> asking) => await asking.ConfigureAwait(false) is not null;
}
