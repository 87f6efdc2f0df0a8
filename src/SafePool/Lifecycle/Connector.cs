using SafePool.Admission;
using SafePool.Driver;
using SafePool.Leases;
using SafePool.Options;

namespace SafePool.Lifecycle;

/// <summary>One attempt to connect, within <see cref="PoolSettings.ConnectTimeout"/>.</summary>
/// <remarks>
/// Npgsql gives an opener a connection at rest if there is one. For demand that is rare (a return in the same moment) and right: the
/// connection serves a waiter all the same. To grow, all that is idle is set aside for the instant in which Npgsql decides.
/// </remarks>
/// <param name="parts">The pool.</param>
/// <param name="resting">Where what was set aside goes back.</param>
#pragma warning disable CA1001 // The semaphore has no wait handle, and attempts may come to their turn after the pool was disposed.
internal sealed class Connector(PoolParts parts, RestingPlaces resting)
#pragma warning restore CA1001
{
    private readonly PoolParts _parts = parts;
    private readonly RestingPlaces _resting = resting;
    private readonly SemaphoreSlim _asideTurn = new(1, 1);
    private int _settingAside;

    /// <summary>Whether what is idle may be set aside in this instant. Whoever waits afterwards and must not, because the circuit is open, is told so.</summary>
    public bool IsSettingAside => Volatile.Read(ref _settingAside) > 0;

    private bool IsDoubtful => !_parts.Breaker.IsWell || _parts.Room.IsFull;

    /// <param name="attempt">Whose time bounds it.</param>
    /// <param name="growing">It must be a new connection, though others are idle.</param>
    public async ValueTask<OpenedConnection> ConnectAsync(OpenAttempt attempt, bool growing)
    {
        // A failed open costs all that there is. So one that has something to lose finds out first whether it would fail.
        if (_parts.Gate.Read().Connections > 0)
        {
            await _parts.Source.KnockAsync(IsDoubtful, attempt.IsBlocking, attempt.Token).ConfigureAwait(false);

            // Given up, it must not take what is at rest: its place is somebody else's.
            attempt.ThrowIfGivenUp();
        }

        return growing && !attempt.IsBlocking
            ? await OpenAsideAsync(attempt).ConfigureAwait(false)
            : await _parts.Source.OpenAsync(attempt).ConfigureAwait(false);
    }

    private async ValueTask<OpenedConnection> OpenAsideAsync(OpenAttempt attempt)
    {
        // One at a time: another would put back what this one wants out of the way. It lasts for as long as Npgsql takes to find nothing.
        await _asideTurn.WaitAsync(attempt.Token).ConfigureAwait(false);
        return await OpenInTurn(attempt).ConfigureAwait(false);
    }

    private ValueTask<OpenedConnection> OpenInTurn(OpenAttempt attempt)
    {
        var aside = new SetAside(this);
        try
        {
            aside.Take();

            // Should the user's code hold up this very thread, before Npgsql connects: what is set aside must not hang with it.
            using var release = attempt.Token.UnsafeRegister(static aside => ((SetAside)aside!).PutBack(), aside);

            // By the time this returns Npgsql has found nothing at rest and begun to connect.
            return _parts.Source.OpenAsync(attempt);
        }
        finally
        {
            aside.PutBack();
        }
    }

    /// <summary>What is idle, out of Npgsql's way for an instant.</summary>
    private sealed class SetAside(Connector owner)
    {
        private List<LeaseSlot>? _aside;

        public void Take()
        {
            Interlocked.Increment(ref owner._settingAside);
            List<LeaseSlot> aside = [];
            Volatile.Write(ref _aside, aside);
            while (owner._resting.TryTakeIdle(out var slot))
            {
                aside.Add(slot);
            }
        }

        public void PutBack()
        {
            if (Interlocked.Exchange(ref _aside, null) is not { } aside)
            {
                return;
            }

            try
            {
                foreach (var slot in aside)
                {
                    owner._resting.RestAndHandOn(slot);
                }
            }
            finally
            {
                owner._asideTurn.Release();
                if (Interlocked.Decrement(ref owner._settingAside) == 0 && owner._parts.Breaker.IsOpen)
                {
                    // There was not enough for those who came meanwhile.
                    owner._parts.Gate.FailWaiting(AdmissionOutcome.CircuitOpen);
                }
            }
        }
    }
}
