using SafePool.Enlistments;
using SafePool.Leases;
using SafePool.Options;

namespace SafePool.Connections;

/// <summary>Asks another idle connection when one has not answered: one that is silent does not speak for all.</summary>
/// <remarks>
/// <para>
/// A balancer may drop a single connection, and the others live. Only when a second one is silent too, or none is there to be asked, is the server taken for the cause and everything retired. If the second answers, the
/// rents that follow ask what they get.
/// </para>
/// <para>Invariant: a place that it takes ends in exactly one RestAndHandOn or return.</para>
/// </remarks>
internal sealed class SecondOpinion(PoolParts parts, RestingPlaces resting, ConnectionReturner returner)
{
    private const int Nobody = -1;

    private readonly ConnectionCare _care = new(parts.Source, parts.Physicals);

    // The generation in which one was found silent, and another one is being asked.
    private int _asking = Nobody;

    /// <summary>A connection of a generation was silent. True when the whole generation is to be retired; false when another one decides that.</summary>
    public bool Agrees(ServerDataSource? host, int generation)
    {
        // Two silent ones at once are agreement.
        if (Interlocked.CompareExchange(ref _asking, generation, Nobody) == generation || !resting.TryTakeIdle(out var slot, host))
        {
            Interlocked.Exchange(ref _asking, Nobody);
            return true;
        }

        _ = AskAsync(slot, host, generation);
        return false;
    }

    private async Task AskAsync(LeaseSlot slot, ServerDataSource? host, int generation)
    {
        try
        {
            var connection = slot.Connection!;
            if (parts.Source.Identify(connection) is { } physical)
            {
                var look = _care.TryMakeFitAsync(connection, physical, flush: true, blocking: false).AsTask();
                if (!await ConnectionCare.IsOverAsync(look, PoolSettings.ReturnPatience, parts.Clock, CancellationToken.None).ConfigureAwait(false))
                {
                    returner.ReturnAfter(slot, look);
                    returner.RetireSilent(host, generation);
                    return;
                }

                if (!await look.ConfigureAwait(false))
                {
                    returner.Retire(slot);
                    return;
                }
            }

            resting.RestAndHandOn(slot);
            parts.Physicals.RequireProbes();
        }
        finally
        {
            Interlocked.CompareExchange(ref _asking, Nobody, generation);
        }
    }
}
