using Npgsql;
using SafePool.Admission;
using SafePool.Enlistments;
using SafePool.Errors;
using SafePool.Leases;
using SafePool.Options;

namespace SafePool.Connections;

/// <summary>One attempt to connect, within <see cref="PoolSettings.ConnectTimeout"/>.</summary>
/// <remarks>
/// Npgsql gives an opener a connection at rest if there is one. For demand that is rare (a return in the same moment) and right: the
/// connection serves a waiter all the same. To grow, all that is idle is set aside for the instant in which Npgsql decides.
/// </remarks>
/// <param name="parts">The pool.</param>
/// <param name="resting">Where what was set aside goes back.</param>
/// <param name="closing">Ends every attempt.</param>
internal sealed class Connector(PoolParts parts, RestingPlaces resting, CancellationToken closing)
{
    private readonly Lock _asideGate = new();
    private int _settingAside;

    /// <summary>Whether what is idle may be set aside in this instant. Whoever waits afterwards and must not, because the circuit is open, is told so.</summary>
    public bool IsSettingAside => Volatile.Read(ref _settingAside) > 0;

    private bool IsDoubtful => !parts.Breaker.IsWell || parts.Room.IsFull;

    /// <param name="blocking">On a thread that may block, and without one of the thread pool.</param>
    /// <param name="growing">It must be a new connection, though others are idle.</param>
    public async ValueTask<OpenedConnection> ConnectAsync(bool blocking, bool growing)
    {
        // A failed open costs all that there is. So one that has something to lose finds out first whether it would fail.
        var hasOthers = parts.Gate.Read().Connections > 0;
        if (blocking)
        {
            if (hasOthers)
            {
                await parts.Source.KnockAsync(IsDoubtful, blocking: true, CancellationToken.None).ConfigureAwait(false);
            }

            return await parts.Source.OpenAsync(blocking: true, CancellationToken.None).ConfigureAwait(false);
        }

        using var timeout = new CancellationTokenSource(parts.Settings.ConnectTimeout, parts.Time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(timeout.Token, closing);
        try
        {
            if (hasOthers)
            {
                await parts.Source.KnockAsync(IsDoubtful, blocking: false, either.Token).ConfigureAwait(false);
            }

            var opened = growing
                ? await OpenAside(either.Token).ConfigureAwait(false)
                : await parts.Source.OpenAsync(blocking: false, either.Token).ConfigureAwait(false);
            return opened.Failure is OperationCanceledException && IsOutOfTime() ? opened with { Failure = OutOfTime() } : opened;
        }
        catch (OperationCanceledException) when (IsOutOfTime())
        {
            throw OutOfTime();
        }

        bool IsOutOfTime() => timeout.IsCancellationRequested && !closing.IsCancellationRequested;

        NpgsqlException OutOfTime()
            => new($"No connection was open within ConnectTimeout ({Sentences.Duration(parts.Settings.ConnectTimeout)}).", new TimeoutException());
    }

    private ValueTask<OpenedConnection> OpenAside(CancellationToken cancellationToken)
    {
        Interlocked.Increment(ref _settingAside);
        try
        {
            // One at a time: another would put back what this one wants out of the way. It lasts for as long as Npgsql takes to find nothing.
            lock (_asideGate)
            {
                return OpenAsideLocked(cancellationToken);
            }
        }
        finally
        {
            if (Interlocked.Decrement(ref _settingAside) == 0 && parts.Breaker.IsOpen)
            {
                // There was not enough for those who came meanwhile.
                parts.Gate.FailWaiting(AdmissionOutcome.CircuitOpen);
            }
        }
    }

    private ValueTask<OpenedConnection> OpenAsideLocked(CancellationToken cancellationToken)
    {
        List<(LeaseSlot Slot, NpgsqlConnection Connection)> aside = [];
        try
        {
            while (parts.Gate.TryTake(out var place))
            {
                if (parts.Source.TryTakeOutside() is { } connection)
                {
                    aside.Add((parts.Ledger[place], connection));
                }
                else
                {
                    parts.Physicals.CountClosed();
                    parts.Gate.Vacate(place);
                }
            }

            // By the time this returns Npgsql has found nothing at rest and begun to connect.
            return parts.Source.OpenAsync(blocking: false, cancellationToken);
        }
        finally
        {
            foreach (var (slot, connection) in aside)
            {
                resting.RestAndHandOn(slot, connection);
            }
        }
    }
}
