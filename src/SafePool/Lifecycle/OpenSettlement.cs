using SafePool.Driver;
using SafePool.Leases;
using SafePool.Logging;
using SafePool.Reports;

namespace SafePool.Lifecycle;

/// <summary>What becomes of the connection that an open has brought: a waiter's, at rest, or nobody's.</summary>
/// <remarks>
/// Npgsql may have given the opener one that was at rest. Most often it had come to rest in that instant, and its place was about to be idle; then the open has added nothing. But it may lie there under no place: a user has
/// opened and closed a <c>Clone()</c>, or somebody has looked under its place while an opener had it in hand, and vacated that. Such a one is found by every open that would add another, so it gets the place of the third that does. When that
/// was wrong, one of the two places is found empty, and costs a rent that goes back to the front of the queue. Never is there a connection more than there are places: what is at rest is taken before another one is opened.
/// </remarks>
internal sealed class OpenSettlement(PoolParts parts, RestingPlaces resting)
{
    // One that has just come to rest is met once; three times in a row nobody gave it back in between.
    private const int MostFoundInARow = 3;

    private static readonly TimeSpan _firstRetry = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan _lastRetry = TimeSpan.FromSeconds(15);

    private int _rearranged;
    private int _foundInARow;

    /// <summary>How often an open has moved a connection at rest to the end of Npgsql's queue, unseen by the gate. Grows after that was done.</summary>
    public int Rearranged => Volatile.Read(ref _rearranged);

    /// <summary>Ends an open that went well: its connection is open, and its place not yet held.</summary>
    /// <param name="slot">The place.</param>
    /// <param name="opened">What it brought.</param>
    /// <param name="blocking">As it began.</param>
    /// <param name="isSpare">It was to find out whether the server is there, and the minimum is there without it: where nobody waits, nor did lately, its answer was all that was wanted.</param>
    public void Settle(LeaseSlot slot, OpenedConnection opened, bool blocking, bool isSpare = false)
    {
        slot.Connection = opened.Connection;
        slot.Generation = opened.Physical.Generation;
        var isStale = parts.Gate.IsClosed || slot.Generation != parts.Physicals.Generation;
        if (opened.IsNew)
        {
            Volatile.Write(ref _foundInARow, 0);
        }

        if (parts.Gate.OpenSucceeded(slot.Place, blocking, handOver: !isStale))
        {
            NoteKept(opened);
            return;
        }

        if (isSpare && opened.IsNew && !isStale)
        {
            if (!parts.Demand.IsRecent)
            {
                // Vacating it opens another for who came in this moment.
                slot.Prepare(site: default, options: null);
                resting.Retire(slot);
                return;
            }

            parts.Demand.KeepForNow();
        }

        if (!resting.TryRest(slot))
        {
            NoteKept(opened);
            return;
        }

        if (isStale && !parts.Gate.IsClosed && parts.Source.TryTake() is { } kept)
        {
            // Npgsql has not ended it: the clear came just before it began to open.
            NoteKept(opened);
            slot.Connection = kept;
            resting.RestAndHandOn(slot);
            Interlocked.Increment(ref _rearranged);
        }
        else if (isStale)
        {
            if (opened.IsNew)
            {
                parts.Physicals.CountClosed();
            }

            // One that was found is missed under the place that it came from.
            parts.Gate.Vacate(slot.Place);
        }
        else if (opened.IsNew || IsUnderNoPlace())
        {
            NoteKept(opened);
            resting.HandOn(slot);
        }
        else
        {
            // It lies under a place of its own again: nothing was added, also when the pool was to grow.
            Interlocked.Increment(ref _rearranged);
            parts.Gate.Vacate(slot.Place);
        }
    }

    /// <summary>Gets rid of a connection that nobody may have, in whatever state it was left. Its place is held, and free when the connection is surely gone.</summary>
    public void Discard(LeaseSlot slot, OpenedConnection opened)
    {
        slot.Prepare(new RentSite(nameof(ConnectionPoolOptions.PhysicalConnectionOpened), "(open)", 0), options: null);
        slot.Connection = opened.Connection;
        slot.Generation = opened.Physical.Generation;
        resting.Retire(slot);
    }

    /// <summary>Gets rid of what an open has brought after it was given up: its place is somebody else's by now. Tries until it is gone; never throws.</summary>
    public async Task DiscardLateAsync(OpenedConnection opened)
    {
        if (opened.IsNew)
        {
            parts.Physicals.Expire(opened.Physical);
            parts.Physicals.CountClosed();
        }

        for (var pause = _firstRetry; !await TryDiscardAsync(opened).ConfigureAwait(false) && !parts.Gate.IsClosed; pause = pause * 2 < _lastRetry ? pause * 2 : _lastRetry)
        {
            await Task.Delay(pause, parts.Time).ConfigureAwait(false);
        }
    }

    private async Task<bool> TryDiscardAsync(OpenedConnection opened)
    {
        try
        {
            if (opened.IsNew)
            {
                await parts.Source.RetireAsync(opened.Connection).ConfigureAwait(false);
            }
            else
            {
                // It lay at rest under some place, and goes back there.
                parts.Source.Close(opened.Connection);
            }

            return true;
        }
        catch (Exception error)
        {
            Log.OpenEndedLate(parts.Logger, parts.Settings.Name, error);
            return false;
        }
    }

    /// <summary>The place goes on with the connection.</summary>
    private void NoteKept(OpenedConnection opened)
    {
        if (!opened.IsNew)
        {
            parts.Physicals.NoteFoundAtRest();
        }
    }

    private bool IsUnderNoPlace()
    {
        if (Interlocked.Increment(ref _foundInARow) < MostFoundInARow)
        {
            return false;
        }

        Volatile.Write(ref _foundInARow, 0);
        return true;
    }
}
