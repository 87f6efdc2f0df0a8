using SafePool.Admission;
using SafePool.Connections;

namespace SafePool.Maintenance;

/// <summary>How a round over the idle connections went.</summary>
internal enum Round
{
    /// <summary>It has met all of them, and nobody else took or returned one meanwhile.</summary>
    Undisturbed,

    /// <summary>It has met all of them, but others came or went.</summary>
    Disturbed,

    /// <summary>It ended before its time, because somebody waited or the server did not answer.</summary>
    CutShort,
}

/// <summary>Finds out which idle connections have been used, though rents and returns leave no note of it.</summary>
/// <remarks>
/// <para>
/// Npgsql's connections at rest are a queue: taken at the head, put back at the tail. So those that were not used since the last look are
/// always in front, and there are at least as many as are idle less the returns since then, which the idle stack counts anyway
/// (<see cref="IdleMoves"/>). A round takes and puts back one after the other, and knows by the rank which were used.
/// </para>
/// <para>
/// The count of returns says nothing of a connection that is at rest before its place is counted idle (a return between its two steps; a lease whose
/// user has closed the connection), nor of what happens during a round. Therefore one in front keeps its note only when the last round has
/// met it (<see cref="PhysicalConnection.Round"/>) and nobody else came or went during that round. In any other case it counts as
/// used, and the round goes on until it meets one again: too much may be flushed, but hardly a connection more than once a second, and never too little.
/// </para>
/// <para>Thread-safety: none; the maintenance loop is its only caller.</para>
/// </remarks>
internal sealed class UnsentResets(PoolClock clock)
{
    private static readonly TimeSpan _patience = TimeSpan.FromSeconds(1);

    private IdleMoves _seen;
    private int _rearranged;
    private long _round;
    private bool _roundHolds;
    private bool _mayHaveExtras;
    private long _seenAt = clock.Exact;
    private long _allSeenAt = clock.Exact;
    private long _allUsedAt = long.MinValue;
    private long _nextDue = long.MaxValue;
    private long _now;
    private int _unused;
    private long _earliest;

    /// <summary>Whether a round has anything to note or to flush; an idle pool whose resets are sent stays silent.</summary>
    public bool IsRoundDue { get; private set; }

    /// <summary>Whether the round must go on until it meets one again, because more may be at rest than are idle.</summary>
    public bool MustMeetAll { get; private set; }

    /// <summary>Begins a look. False when the pool is busy: every idle connection was used since the last one.</summary>
    /// <param name="idle">The idle stack now.</param>
    /// <param name="rearranged"><see cref="ConnectionOpener.Rearranged"/>, read before.</param>
    public bool Begin(IdleMoves idle, int rearranged)
    {
        _now = clock.Exact;
        _earliest = long.MaxValue;
        var returns = idle.PushesSince(_seen);
        _unused = idle.Count - returns;
        _roundHolds &= _unused > 0 && rearranged == _rearranged;
        MustMeetAll = !_roundHolds;
        _rearranged = rearranged;
        if (_unused <= 0)
        {
            _seen = idle;
            _seenAt = _allSeenAt = _allUsedAt = _now;
        }

        if (!_roundHolds)
        {
            _nextDue = Math.Min(_nextDue, DueAfter(_seenAt));
        }

        IsRoundDue = _unused > 0 && (returns > 0 || _now >= _nextDue);
        return _unused > 0;
    }

    /// <summary>Whether this round has met a connection before, and so has met them all.</summary>
    public bool HasMet(PhysicalConnection physical) => physical.Round > _round;

    /// <summary>Whether the reset of a connection has waited for too long.</summary>
    /// <param name="physical">The connection.</param>
    /// <param name="rank">How many the round has taken before it.</param>
    public bool IsOverdue(PhysicalConnection physical, int rank)
    {
        if (rank >= _unused)
        {
            // If more are at rest than are idle, some of these may not have been used: then their flush is not put off.
            physical.UnsentSince = _mayHaveExtras ? Math.Max(physical.UnsentSince ?? _now, _allUsedAt) : _now;
        }
        else if (!_roundHolds || physical.Round != _round)
        {
            // Nor does doubt put it off; otherwise a pool in which every round is disturbed would never flush.
            MustMeetAll = true;
            var cleanAt = physical.Round == _round ? _seenAt : _allSeenAt;
            physical.UnsentSince = Math.Max(physical.UnsentSince ?? cleanAt, _allUsedAt);
        }

        physical.Round = _round + 1;
        if (physical.UnsentSince is not { } since)
        {
            return false;
        }

        if (_now >= DueAfter(since))
        {
            return true;
        }

        _earliest = Math.Min(_earliest, since);
        return false;
    }

    /// <summary>Ends a round.</summary>
    /// <param name="idle">The idle stack now.</param>
    /// <param name="outcome">How it went.</param>
    /// <param name="met">How many it has met.</param>
    public void End(IdleMoves idle, Round outcome, int met)
    {
        _round++;
        _roundHolds = outcome == Round.Undisturbed;
        _mayHaveExtras = !_roundHolds || (MustMeetAll ? met > idle.Count : _mayHaveExtras);
        _seen = idle;
        _seenAt = clock.Exact;
        _allSeenAt = outcome == Round.CutShort ? _allSeenAt : _seenAt;
        _nextDue = outcome == Round.CutShort ? _seenAt : _earliest == long.MaxValue ? long.MaxValue : DueAfter(_earliest);
    }

    private long DueAfter(long since) => clock.After(since, _patience);
}
