using Npgsql;
using SafePool.Driver;
using SafePool.Leases;
using SafePool.Options;

namespace SafePool.Lifecycle;

/// <summary>Asks the server something over an idle connection of the pool, taken as a rent would take it, or over one that comes back: for when there is no other way in.</summary>
/// <remarks>Invariant: a place that it takes ends in exactly one RestAndHandOn or return.</remarks>
internal sealed class IdleQuestion(PoolParts parts, RestingPlaces resting, ConnectionReturner returner, ServerWatch watch)
{
    /// <summary>The server's role; null when there is nothing to ask, or no answer.</summary>
    public Task<bool?> AskRoleAsync()
        => AskAsync((connection, _, _) => parts.Source.IsOnStandbyAsync(connection), PoolSettings.ReturnPatience, CancellationToken.None);

    /// <summary>Asks, and leaves the session as it was. <see langword="default"/> when nothing is idle or comes back, or there is no answer in time.</summary>
    /// <param name="ask">Says nothing that outlives it in the session. What it throws is thrown, and ends the connection.</param>
    /// <param name="timeout">For the answer, while the process runs.</param>
    /// <param name="cancellationToken">The asker's.</param>
    public async Task<T?> AskAsync<T>(
        Func<NpgsqlConnection, PhysicalConnection, CancellationToken, Task<T>> ask, TimeSpan timeout, CancellationToken cancellationToken)
    {
        if (!resting.TryTakeIdle(out var slot))
        {
            await watch.RelieveAsync().ConfigureAwait(false);
            slot = await resting.TakeAsync().ConfigureAwait(false);
            if (slot is null)
            {
                return default;
            }
        }

        var connection = slot.Connection!;
        if (parts.Source.Identify(connection) is not { } physical)
        {
            returner.Retire(slot);
            return default;
        }

        parts.Physicals.NoteAsked(physical);
        var asking = ask(connection, physical, cancellationToken);
        return await EndsAsync(slot, asking, timeout).ConfigureAwait(false) ? await asking.ConfigureAwait(false) : default;
    }

    private async Task<bool> EndsAsync<T>(LeaseSlot slot, Task<T> asking, TimeSpan timeout)
    {
        try
        {
            if (await ConnectionCare.IsOverAsync(asking, timeout, parts.Clock, CancellationToken.None).ConfigureAwait(false))
            {
                resting.RestAndHandOn(slot);
                return true;
            }
        }
        catch (Exception)
        {
            // The asker is told it below; what state the session is in nobody knows.
            returner.Retire(slot);
            return true;
        }

        returner.GiveUpOn(slot, IsFitAsync(asking));
        return false;
    }

    private static async Task<bool> IsFitAsync<T>(Task<T> asking)
    {
        await ((Task)asking).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        return asking.IsCompletedSuccessfully;
    }
}
