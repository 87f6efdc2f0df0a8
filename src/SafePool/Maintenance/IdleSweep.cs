using Npgsql;
using SafePool.Admission;
using SafePool.Connections;
using SafePool.Leases;
using SafePool.Options;

namespace SafePool.Maintenance;

/// <summary>Looks at every idle connection once and does what it needs: too old, retire; untidy, tidy; its reset unsent for a second, flush.</summary>
/// <remarks>
/// <para>
/// Npgsql's reset travels with the next command. Until there is one, the advisory locks, temporary tables and <c>LISTEN</c> of a returned lease stay on
/// the server; a flush sends it. A connection that was flushed is clean until its next lease, so an idle pool falls silent.
/// </para>
/// <para>
/// One idle connection at a time is taken, as a rent would take it, and none while anybody waits; while the pool is busy nothing is flushed. A
/// rent that finds nothing idle in the moment of a flush waits for it, or opens another connection; <c>TryRent</c> says that nothing was idle.
/// </para>
/// <para>Invariant: every place that a round takes ends in exactly one RestAndHandOn, Vacate or return.</para>
/// </remarks>
internal sealed class IdleSweep(PoolParts parts, ConnectionOpener opener, ConnectionReturner returner)
{
    private readonly ConnectionCare _care = new(parts.Source, parts.Physicals);
    private readonly IdleRetirement _retirement = new(parts, returner);
    private readonly UnsentResets _unsent = new(parts.Clock);
    private readonly bool _resetsTravel = parts.Settings.Reset != SessionReset.Rollback;

    /// <summary>One look, and a round if anything calls for it; never two at once.</summary>
    public async Task RunAsync()
    {
        var rearranged = opener.Rearranged;
        var before = parts.Gate.IdleMoves;
        var mayFlush = _resetsTravel && _unsent.Begin(before, rearranged);
        if (!parts.Physicals.NeedsCare && !(mayFlush && _unsent.IsRoundDue))
        {
            return;
        }

        await GoRoundAsync(before, mayFlush).ConfigureAwait(false);
    }

    private async Task GoRoundAsync(IdleMoves before, bool mayFlush)
    {
        // More are at rest than are idle when users close the connections of their leases.
        var limit = 2 * parts.Gate.Places;
        int taken = 0, retired = 0, lost = 0;
        var last = Looked.Rested;
        while (last < Looked.Silent && taken < (mayFlush && _unsent.MustMeetAll ? limit : before.Count) && parts.Gate.TryTake(out var place))
        {
            last = await LookAtAsync(parts.Ledger[place], rank: taken++, mayFlush).ConfigureAwait(false);
            retired += last is Looked.Retired or Looked.Silent ? 1 : 0;
            lost += last == Looked.Lost ? 1 : 0;
        }

        _retirement.Note(retired, "too old, or failed when looked at");
        var after = parts.Gate.IdleMoves;
        var isAlone = lost == 0
            && after.Count == before.Count - retired
            && after.MovesSince(before) == (2 * taken) - retired;
        var metAll = last == Looked.MetAgain || (last != Looked.Silent && taken == before.Count && !(mayFlush && _unsent.MustMeetAll));
        var outcome = !metAll ? Round.CutShort : isAlone && mayFlush ? Round.Undisturbed : Round.Disturbed;
        _unsent.End(after, outcome, met: taken - 1 - retired);
    }

    private async Task<Looked> LookAtAsync(LeaseSlot slot, int rank, bool mayFlush)
    {
        if (parts.Source.TryTake() is not { } connection)
        {
            opener.Vacate(slot.Place);
            return Looked.Lost;
        }

        var outcome = await CareForAsync(connection, rank, mayFlush).ConfigureAwait(false);
        if (outcome is Looked.Rested or Looked.MetAgain)
        {
            return opener.RestAndHandOn(slot, connection) ? outcome : Looked.Lost;
        }

        await _retirement.RetireAsync(slot, connection).ConfigureAwait(false);
        return outcome;
    }

    private async Task<Looked> CareForAsync(NpgsqlConnection connection, int rank, bool mayFlush)
    {
        if (parts.Source.Identify(connection) is not { } physical)
        {
            return Looked.Rested;
        }

        if (mayFlush && _unsent.HasMet(physical))
        {
            return Looked.MetAgain;
        }

        var flush = mayFlush && _unsent.IsOverdue(physical, rank);
        var talks = flush || physical.IsUntidy;
        try
        {
            // Bounded here, because the rest of the pool's upkeep waits for it. What still runs is ended by the return that follows.
            var isFit = await _care.TryMakeFitAsync(connection, physical, flush, blocking: false)
                .AsTask().WaitAsync(PoolSettings.ReturnPatience, parts.Time).ConfigureAwait(false);
            physical.UnsentSince = talks && isFit ? null : physical.UnsentSince;
            return isFit ? Looked.Rested : Looked.Retired;
        }
        catch (TimeoutException)
        {
            return Looked.Silent;
        }
    }

    /// <summary>What has become of a connection that the sweep has looked at; the later ones end the round.</summary>
    private enum Looked
    {
        /// <summary>It is at rest again, or a waiter has it.</summary>
        Rested,

        /// <summary>It was too old, or failed.</summary>
        Retired,

        /// <summary>There was none, or its close failed: others look after the place.</summary>
        Lost,

        /// <summary>It was retired because the server did not answer, as it would not for the others. They are next tick's: the loop has more to do.</summary>
        Silent,

        /// <summary>It is at rest again, and so was this round's first.</summary>
        MetAgain,
    }
}
