using System.Data;
using Npgsql;
using SafePool.Driver;
using SafePool.Leases;
using SafePool.Lifecycle;
using SafePool.Options;

namespace SafePool.Renting;

/// <summary>Sees to it that an open, fit connection is in a place that is held, within bounds.</summary>
/// <remarks>
/// <para>
/// A connection that has to say something to the server first (a probe after a quiet time, something left behind) may find that there is nobody. It is waited for within the
/// budget of the rent and <see cref="PoolSettings.ReturnPatience"/>, whichever is less; whoever leaves earlier leaves the place in the care of the pool.
/// </para>
/// <para>Invariant: when it says false or throws, the place is no longer the caller's.</para>
/// </remarks>
internal sealed class Readiness(PoolParts parts, RestingPlaces resting, ConnectionReturner returner)
{
    private readonly ConnectionCare _care = new(parts.Source, parts.Physicals);

    /// <summary>False when there was no connection, or none that is fit.</summary>
    /// <param name="slot">The place that is held.</param>
    /// <param name="onto">The object that shall be opened over the connection; null for a new one.</param>
    /// <param name="blocking">Completes synchronously.</param>
    /// <param name="deadline">When the budget of the rent ends.</param>
    /// <param name="cancellationToken">The caller's.</param>
    /// <exception cref="OperationCanceledException">The caller's token was cancelled while the connection was looked at.</exception>
    public ValueTask<bool> TryMakeReadyAsync(LeaseSlot slot, NpgsqlConnection? onto, bool blocking, long deadline, CancellationToken cancellationToken)
    {
        var needsCare = parts.Physicals.NeedsCare;
        if (slot.Connection is null && !TryFill(slot, needsCare ? null : onto))
        {
            return new ValueTask<bool>(false);
        }

        // On an object of the pool's own: one that is not fit is retired in the background, and the caller's must be free for the next.
        if (needsCare && _care.Begin(slot.Connection!, blocking) is { } look)
        {
            return onto is null
                ? WaitAsync(slot, look, blocking, deadline, cancellationToken)
                : WaitAndMoveAsync(slot, onto, look, blocking, deadline, cancellationToken);
        }

        return new ValueTask<bool>(TryMove(slot, onto));
    }

    /// <summary>Waits for other words with the server over a connection in a place that is held, within the budget of the rent: false when that is over, or the connection.</summary>
    /// <remarks>A caller who blocks says them on his own thread, and nothing but Npgsql's timeouts bounds that.</remarks>
    public ValueTask<bool> EndsInTimeAsync(LeaseSlot slot, ValueTask words, bool blocking, long deadline, CancellationToken cancellationToken)
    {
        return words.IsCompletedSuccessfully ? new ValueTask<bool>(true) : AwaitAsync(words.AsTask());

        async ValueTask<bool> AwaitAsync(Task saying)
        {
            slot.Prepare(site: default, options: null);
            slot.NoteAsked();
            try
            {
                await (blocking || deadline == long.MaxValue ? saying : saying.WaitAsync(Left(deadline), parts.Time, cancellationToken)).ConfigureAwait(false);
                slot.NoteAnswered();
                return true;
            }
            catch (Exception) when (!saying.IsCompleted || saying.IsCompletedSuccessfully)
            {
                // Given up, if only in the moment in which they ended.
                returner.ReturnAfter(slot, IsFitAfterAsync(saying));
                cancellationToken.ThrowIfCancellationRequested();
                return false;
            }
            catch (Exception) when (parts.Source.StateOf(slot.Connection!) != ConnectionState.Open)
            {
                // It had died unseen, as one that is probed may have: another one will do.
                await returner.ReturnAsync(slot, blocking, retire: true).ConfigureAwait(false);
                return false;
            }
            catch
            {
                await returner.ReturnAsync(slot, blocking, retire: true).ConfigureAwait(false);
                throw;
            }
        }
    }

    /// <summary>What was half said when its lease was given up is on no connection that anybody gets.</summary>
    private static async Task<bool> IsFitAfterAsync(Task saying)
    {
        await saying.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        return false;
    }

    private TimeSpan Left(long deadline) => parts.Clock.Until(deadline) is var left && left > TimeSpan.Zero ? left : TimeSpan.Zero;

    private bool TryFill(LeaseSlot slot, NpgsqlConnection? onto)
    {
        slot.Connection = parts.Source.TryTake(onto);
        slot.Generation = parts.Physicals.Generation;
        if (slot.Connection is not null)
        {
            return true;
        }

        slot.Reset();
        resting.VacateLost(slot.Place);
        return false;
    }

    /// <summary>Goes over to the caller's object. Nothing has been said yet that the close between the two would undo.</summary>
    private bool TryMove(LeaseSlot slot, NpgsqlConnection? onto)
    {
        if (onto is null || slot.Connection == onto || parts.Source.StateOf(onto) != ConnectionState.Closed)
        {
            return true;
        }

        parts.Source.Close(slot.Connection!);
        return TryFill(slot, onto);
    }

    private async ValueTask<bool> WaitAndMoveAsync(
        LeaseSlot slot, NpgsqlConnection onto, Task<bool> look, bool blocking, long deadline, CancellationToken cancellationToken)
        => await WaitAsync(slot, look, blocking, deadline, cancellationToken).ConfigureAwait(false) && TryMove(slot, onto);

    private async ValueTask<bool> WaitAsync(LeaseSlot slot, Task<bool> look, bool blocking, long deadline, CancellationToken cancellationToken)
    {
        // What nobody has rented yet: should it be given up here, there is no line to name.
        slot.Prepare(site: default, options: null);
        slot.NoteAsked();
        var left = deadline == long.MaxValue ? TimeSpan.MaxValue : Left(deadline);
        var patience = left > PoolSettings.ReturnPatience ? PoolSettings.ReturnPatience : left;
        try
        {
            if (blocking ? look.Wait(patience, CancellationToken.None) : await ConnectionCare.IsOverAsync(look, patience, parts.Clock, cancellationToken).ConfigureAwait(false))
            {
                if (await look.ConfigureAwait(false))
                {
                    slot.NoteAnswered();
                    return true;
                }

                // Not on this rent's time: retiring one that is too old takes words with the server, and that may be silent.
                returner.Retire(slot);
                return false;
            }
        }
        catch (OperationCanceledException)
        {
            returner.GiveUpOn(slot, look);
            throw;
        }

        returner.GiveUpOn(slot, look);
        return false;
    }
}
