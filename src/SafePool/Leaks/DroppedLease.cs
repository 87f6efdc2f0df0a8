using System.Data;
using SafePool.Driver;
using SafePool.Leases;

namespace SafePool.Leaks;

/// <summary>A lease of which every copy was lost, and whether somebody provably still uses its connection.</summary>
/// <remarks>
/// <para>
/// The collector cannot tell: Npgsql itself refers to a command that runs, and to a reader that is open. So what counts is what moves: the number of bytes that were read and written
/// on the connection (<see cref="IConnectionSource.ProgressOf"/>), from the moment in which the lease was found dead. Who reads one more row, or
/// writes one, moves it; a command that is awaited by nobody, a reader that was left, an import that was given up do not.
/// </para>
/// <para>
/// One that has never moved is taken back as soon as callers would otherwise run out of time, but not before it was watched for a while. One that has moved is left in peace until nothing
/// has moved for as long as it takes to be overdue. Thread-safety: none; its only caller holds a lock.
/// </para>
/// </remarks>
internal sealed class DroppedLease
{
    private static readonly TimeSpan _longestWatch = TimeSpan.FromSeconds(1);

    private readonly PoolParts _parts;
    private long? _progress;
    private long _stillSince;
    private bool _hasMoved;
    private bool _wasFetching;

    public DroppedLease(PoolParts parts, LeaseSlot slot, long leaseId)
    {
        (_parts, Slot, LeaseId) = (parts, slot, leaseId);
        _stillSince = parts.Clock.Exact;
        _progress = Progress();
    }

    public LeaseSlot Slot { get; }

    public long LeaseId { get; }

    /// <summary>Whether nobody has returned it or taken it back yet.</summary>
    public bool IsPresent => Slot.LeaseId == LeaseId;

    private TimeSpan Threshold => _parts.Settings.Leaks.Threshold;

    /// <summary>One look.</summary>
    /// <param name="isPressing">Callers are about to run out of time.</param>
    public bool MayBeTakenBack(bool isPressing)
    {
        if (!Slot.WasUsed)
        {
            return true;
        }

        var progress = Progress();
        var state = Slot.Connection is { } connection ? _parts.Source.StateOf(connection) : ConnectionState.Closed;
        var isExecuting = (state & ConnectionState.Executing) != 0;
        var isFetching = !isExecuting && (state & ConnectionState.Fetching) != 0;
        if (progress != _progress)
        {
            // The answer to a command that ran moves too, whether or not anybody waits for it.
            _hasMoved |= isFetching && _wasFetching;
            (_progress, _stillSince) = (progress, _parts.Clock.Exact);
        }

        _wasFetching = isFetching;
        var isOverdue = _parts.Ledger.IsOverdue(Slot, Threshold);
        if (!isExecuting && !isFetching)
        {
            return isOverdue || isPressing;
        }

        if (progress is null)
        {
            // Nothing can be proven. A reader that was lost along with its lease never ends, so an open one only buys time.
            return isOverdue && !isExecuting;
        }

        return _hasMoved ? IsStillFor(Threshold) : IsStillFor(Watch()) && (isPressing || (isOverdue && !isExecuting));
    }

    /// <summary>Callers who have little time cannot wait for long.</summary>
    private TimeSpan Watch()
    {
        var quarter = _parts.Settings.AcquireTimeout / 4;
        return quarter < _longestWatch && quarter >= TimeSpan.Zero ? quarter : _longestWatch;
    }

    private bool IsStillFor(TimeSpan time) => _parts.Clock.RunningSince(_stillSince) >= time;

    private long? Progress() => Slot.Connection is { } connection ? _parts.Source.ProgressOf(connection) : null;
}
