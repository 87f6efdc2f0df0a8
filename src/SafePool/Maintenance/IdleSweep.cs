using Microsoft.Extensions.Logging;
using Npgsql;
using SafePool.Admission;
using SafePool.Driver;
using SafePool.Driver.Hosts;
using SafePool.Leases;
using SafePool.Lifecycle;
using SafePool.Logging;
using SafePool.Options;

namespace SafePool.Maintenance;

/// <summary>Looks at every idle connection once and does what it needs: too old, retire; untidy, tidy; its reset unsent for a second, flush; not heard of for long, probe.</summary>
/// <remarks>
/// <para>
/// A probe and a flush are the same words. One that fails, or has no answer within <see cref="PoolSettings.ReturnPatience"/>, retires everything older, so many dead connections are
/// met one by one only by the server's fault.
/// </para>
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
internal sealed class IdleSweep(PoolParts parts, RestingPlaces resting, ConnectionOpener opener, ConnectionReturner returner, ServerWatch watch)
{
    private readonly ConnectionCare _care = new(parts.Source, parts.Physicals);
    private readonly IdleRetirement _retirement = new(parts, returner);
    private readonly UnsentResets _unsent = new(parts.Clock);
    private readonly SignsOfLife _signs = new(parts);
    private readonly bool _resetsTravel = parts.Settings.Reset != SessionReset.Rollback;
    private int _isRunning;
    private long _round;
    private long _sentInRound;
    private long _rents;

    /// <summary>Whether nothing is under way, nothing unsent, and the watch is set up: nothing to do before <see cref="NextRound"/> if nobody rents.</summary>
    public bool IsSettled
        => Volatile.Read(ref _isRunning) == 0
            && !(_resetsTravel && _unsent.Count > 0 && parts.Gate.IdleMoves.Count > 0)
            && _unsent.HasSeenAll(parts.Gate.IdleMoves, opener.Rearranged)
            && !watch.IsWanted;

    /// <inheritdoc cref="SignsOfLife.NextRound"/>
    public long NextRound => _signs.NextRound;

    /// <summary>Begins a round if anything calls for it and none is under way, and does not wait for it.</summary>
    public void Begin()
    {
        if (Interlocked.Exchange(ref _isRunning, 1) == 0)
        {
            _ = RunAsync();
        }
    }

    private async Task RunAsync()
    {
        try
        {
            var rearranged = opener.Rearranged;
            var idle = parts.Gate.IdleMoves;
            _unsent.Look(idle, rearranged);
            var probes = _signs.AreDue(idle.Count);
            if (probes || parts.Physicals.HasDue)
            {
                // The one that watches is one of those that are to be looked at.
                await watch.RelieveAsync().ConfigureAwait(false);
                idle = parts.Gate.IdleMoves;
            }

            if (idle.Count > 0 && (probes || parts.Physicals.HasDue || (_resetsTravel && _unsent.IsDue)))
            {
                await GoRoundAsync(idle).ConfigureAwait(false);
            }
            else
            {
                await WatchOverAsync().ConfigureAwait(false);
            }
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

    /// <summary>Sets one idle connection to watch for the server's going away once the pool is quiet; in one that is used the rents find out.</summary>
    private async Task WatchOverAsync()
    {
        var rents = parts.Ledger.TotalRents;
        var isQuiet = rents == _rents;
        _rents = rents;
        if (!isQuiet)
        {
            // Back into the rotation: what is idle for too long may be ended by the server, or by what stands in between.
            await watch.RelieveAsync().ConfigureAwait(false);
        }
        else if (watch.IsWanted && resting.TryTakeIdle(out var slot)
            && (parts.Source.Identify(slot.Connection!) is not { } physical || await TryMakeFitAsync(slot, physical, flush: true).ConfigureAwait(false) is null)
            && !await watch.TryBeginAsync(slot).ConfigureAwait(false))
        {
            resting.RestAndHandOn(slot);
        }
    }

    /// <summary>With several hosts each has an order of its own, and what is to be flushed cannot be told from the number of rents: so every reset is sent that may be unsent.</summary>
    private async Task GoOverAsync(IReadOnlyList<ServerDataSource> hosts, IdleMoves idle)
    {
        var sends = _resetsTravel && !_unsent.IsBusy;
        var (isWhole, retired, before) = (true, 0, idle);
        foreach (var host in hosts)
        {
            var rotation = await RotateAsync(before, sends, flushFrom: sends && _unsent.Count > 0 ? 0 : int.MaxValue, host).ConfigureAwait(false);
            (isWhole, retired, before) = (isWhole && rotation.IsWhole, retired + rotation.Retired, rotation.After);
        }

        _retirement.Note(retired, "too old, or failed when looked at");
        _signs.RoundEnded(isWhole);
        if (sends && isWhole)
        {
            _unsent.Sent(before);
        }
        else
        {
            _unsent.Doubt(before);
        }
    }

    private async Task GoRoundAsync(IdleMoves idle)
    {
        if (parts.Source.Hosts is { IsSeveral: true } hosts)
        {
            await GoOverAsync(hosts.All, idle).ConfigureAwait(false);
            return;
        }

        var sends = _resetsTravel && !_unsent.IsBusy;

        // The first time round looks after what is due, and counts: more are at rest than are idle when users close the connections of their leases, fewer when
        // Npgsql has ended some. The last one that it met was its first, so those in question are one further in front than they were.
        var counted = await RotateAsync(idle, sends, flushFrom: int.MaxValue).ConfigureAwait(false);
        var sent = counted;
        if (sends && _unsent.Count > 0)
        {
            // Those that are at rest but not idle may be in question as well, beside the ones that were counted.
            var inFront = Math.Min(counted.Met, counted.After.Count) - _unsent.Count - 1;
            sent = await RotateAsync(counted.After, sends, flushFrom: counted.IsWhole ? inFront : 0).ConfigureAwait(false);
        }

        _retirement.Note(counted.Retired + (sent == counted ? 0 : sent.Retired), "too old, or failed when looked at");
        _signs.RoundEnded(isWhole: counted.IsWhole || sent.IsWhole);
        if (sends && counted.IsWhole && sent.IsWhole)
        {
            _unsent.Sent(sent.After);
            _sentInRound = _round;
        }
        else
        {
            _unsent.Doubt(sent.After);
        }
    }

    /// <summary>Takes and puts back each connection at rest, until it meets one again.</summary>
    /// <param name="before">The idle stack when the rotation begins.</param>
    /// <param name="sends">Whether resets may be sent.</param>
    /// <param name="flushFrom">How many are passed before those whose reset is to be sent.</param>
    /// <param name="host">Where; null where there is one.</param>
    private async Task<Rotation> RotateAsync(IdleMoves before, bool sends, int flushFrom, ServerDataSource? host = null)
    {
        int taken = 0, retired = 0, lost = 0;
        var last = Looked.Rested;
        _round++;
        while (taken < 2 * parts.Gate.Places && last != Looked.MetAgain && resting.TryTakeIdle(out var slot, host))
        {
            // Once somebody else came or went, the rank says nothing any more.
            var isAlone = lost == 0 && parts.Gate.IdleMoves.MovesSince(before) == (2 * taken) + 1 - retired;
            var flushes = flushFrom != int.MaxValue && (taken >= flushFrom || !isAlone);
            last = await LookAtAsync(slot, sends, flushes).ConfigureAwait(false);
            taken++;
            retired += last == Looked.Retired ? 1 : 0;
            lost += last == Looked.Lost ? 1 : 0;
        }

        var after = parts.Gate.IdleMoves;
        var others = after.MovesSince(before) - ((2 * taken) - retired);

        // Where there are several, it ends by taking and giving back a place that stands for one at another host.
        var isAtEnd = last == Looked.MetAgain ? others == 0
            : host is null ? others == 0 && after.Count == 0
            : others is 0 or 2;
        var isWhole = lost == 0 && isAtEnd;
        return new Rotation(after, taken - retired - 1, retired, isWhole);
    }

    private async Task<Looked> LookAtAsync(LeaseSlot slot, bool sends, bool flushes)
    {
        var physical = parts.Source.Identify(slot.Connection!);
        var isMetAgain = physical?.Round == _round;

        // One that the last whole round did not meet came to rest while it went round, and nobody was told: its user closed it.
        var wasMissed = sends && physical?.Round < _sentInRound;
        physical?.Round = _round;
        if (!isMetAgain && physical is not null)
        {
            var flush = flushes || wasMissed || _signs.IsDue(physical);
            var failed = await TryMakeFitAsync(slot, physical, flush).ConfigureAwait(false);
            if (failed is { } outcome)
            {
                return outcome;
            }

            _signs.Note(physical);
        }

        return !resting.RestAndHandOn(slot) ? Looked.Lost : isMetAgain ? Looked.MetAgain : Looked.Rested;
    }

    /// <summary>Null when it is fit; otherwise what has become of it, and the place is in others' care.</summary>
    private async Task<Looked?> TryMakeFitAsync(LeaseSlot slot, PhysicalConnection physical, bool flush)
    {
        var look = _care.TryMakeFitAsync(slot.Connection!, physical, flush, blocking: false).AsTask();
        if (!await ConnectionCare.IsOverAsync(look, PoolSettings.ReturnPatience, parts.Clock, CancellationToken.None).ConfigureAwait(false))
        {
            returner.GiveUpOn(slot, look);
            return Looked.Lost;
        }

        if (await look.ConfigureAwait(false))
        {
            return null;
        }

        await _retirement.RetireAsync(slot).ConfigureAwait(false);
        return Looked.Retired;
    }

    /// <param name="After">The idle stack at its end.</param>
    /// <param name="Met">How many it has met and left at rest.</param>
    /// <param name="Retired">How many it has retired.</param>
    /// <param name="IsWhole">It has met all, and nobody else came or went meanwhile.</param>
    private readonly record struct Rotation(IdleMoves After, int Met, int Retired, bool IsWhole);

    /// <summary>What has become of a connection that the sweep has looked at.</summary>
    private enum Looked
    {
        /// <summary>It is at rest again, or a waiter has it.</summary>
        Rested,

        /// <summary>It is at rest again, and this round had met it before: so it has met all.</summary>
        MetAgain,

        /// <summary>It was too old, or failed.</summary>
        Retired,

        /// <summary>It did not answer, or its close failed: others look after the place.</summary>
        Lost,
    }
}
