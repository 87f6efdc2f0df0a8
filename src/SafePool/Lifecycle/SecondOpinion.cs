using SafePool.Driver;
using SafePool.Driver.Hosts;
using SafePool.Leases;
using SafePool.Options;

namespace SafePool.Lifecycle;

/// <summary>Finds out, when one connection has not answered, whether the others do: one that is silent does not speak for all.</summary>
/// <remarks>
/// <para>
/// A balancer may drop some connections, and the others live. What was heard over another one since the silent one was asked speaks against an outage; so does what up to two idle ones answer now, or, where nothing is idle because all are leased, that the server
/// lets somebody in. Only when nobody answers, or every connection was found silent, is everything retired. In any case whoever gets a connection next asks over it first.
/// </para>
/// <para>
/// Bounded: a question takes <see cref="PoolSettings.ReturnPatience"/> at most, and a silent server holds no more than two further places. There is one question at a time for a host and generation; who is found silent meanwhile leaves the conclusion to it, which is
/// drawn after it is no longer under way. Who comes later asks anew.
/// </para>
/// <para>Invariant: a place that it takes ends in exactly one RestAndHandOn or return.</para>
/// </remarks>
internal sealed class SecondOpinion(PoolParts parts, RestingPlaces resting, ConnectionReturner returner)
{
    private const int MostAsked = 2;

    private readonly ConnectionCare _care = new(parts.Source, parts.Physicals);
    private readonly Lock _gate = new();
    private readonly HashSet<(ServerDataSource? Host, int Generation)> _underWay = [];

    /// <summary>A connection was silent: retires the whole generation, if the others are silent too. Does not wait for that.</summary>
    public void Seek(Silence silence)
    {
        parts.Physicals.RequireProbes();
        if (IsRefuted(silence))
        {
            return;
        }

        if (Others(silence).All(other => other.IsSilent))
        {
            returner.RetireSilent(silence);
            return;
        }

        lock (_gate)
        {
            if (!_underWay.Add((silence.Host, silence.Generation)))
            {
                return;
            }
        }

        // Taken at once: or whoever met the silence would get one of these next, and wait for it as well.
        List<LeaseSlot> others = [];
        while (others.Count < MostAsked && resting.TryTakeIdle(out var slot, silence.Host))
        {
            others.Add(slot);
        }

        // Unsafe: without the context of whoever met the silence.
        ThreadPool.UnsafeQueueUserWorkItem(
            static state => _ = state.Self.ConcludeAsync(state.Silence, state.Others), (Self: this, Silence: silence, Others: others), preferLocal: false);
    }

    private async Task ConcludeAsync(Silence silence, List<LeaseSlot> others)
    {
        var isAnswered = true;
        try
        {
            isAnswered = await IsAnsweredAsync(silence.Host, others).ConfigureAwait(false);
        }
        finally
        {
            lock (_gate)
            {
                _underWay.Remove((silence.Host, silence.Generation));
            }
        }

        if (!isAnswered && !IsRefuted(silence))
        {
            returner.RetireSilent(silence);
        }
    }

    private async Task<bool> IsAnsweredAsync(ServerDataSource? host, List<LeaseSlot> others)
        => others.Count == 0
            ? await LetsInAsync(host).ConfigureAwait(false)
            : (await Task.WhenAll(others.Select(AskAsync)).ConfigureAwait(false)).Contains(true);

    /// <summary>False when it was silent. One that has ended has said so too, and its return draws the conclusion.</summary>
    private async Task<bool> AskAsync(LeaseSlot slot)
    {
        var connection = slot.Connection!;
        if (parts.Source.Identify(connection) is { } physical)
        {
            var look = _care.TryMakeFitAsync(connection, physical, flush: true, blocking: false).AsTask();
            if (!await ConnectionCare.IsOverAsync(look, PoolSettings.ReturnPatience, parts.Clock, CancellationToken.None).ConfigureAwait(false))
            {
                PhysicalConnections.NoteSilent(physical);
                returner.ReturnAfter(slot, look);
                return false;
            }

            if (!await look.ConfigureAwait(false))
            {
                returner.Retire(slot);
                return true;
            }
        }

        resting.RestAndHandOn(slot);
        return true;
    }

    /// <summary>Whether the server answers beside the pool, be it with a no.</summary>
    private async Task<bool> LetsInAsync(ServerDataSource? host)
    {
        try
        {
            var knock = host is null
                ? parts.Source.KnockAsync(isDoubtful: false, blocking: false, CancellationToken.None)
                : host.Knock.AskAsync(isDoubtful: false, blocking: false, CancellationToken.None);
            return await ConnectionCare.IsOverAsync(EndAsync(knock), PoolSettings.ReturnPatience, parts.Clock, CancellationToken.None).ConfigureAwait(false);
        }
        catch (Exception error)
        {
            return OpenFailures.IsRefusedForNow(error)
                || (OpenFailures.AnswerIn(error) is not null && OpenFailures.KindOf(error) == OpenFailureKind.RefusedForGood);
        }

        static async Task<bool> EndAsync(ValueTask knock)
        {
            await knock.ConfigureAwait(false);
            return true;
        }
    }

    /// <summary>Whether one that is as old has answered since. What was opened since proves nothing about those that may have been dropped.</summary>
    private bool IsRefuted(Silence silence)
        => Others(silence).Any(other => other.OpenedAt < silence.Since && other.SeenAt >= silence.Since);

    private IEnumerable<PhysicalConnection> Others(Silence silence)
        => parts.Physicals.In(silence.Generation, silence.Host).Where(other => other != silence.Connection);
}
