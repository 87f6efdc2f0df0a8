using System.Runtime.CompilerServices;
using Microsoft.Extensions.ObjectPool;
using Npgsql;
using SafePool.Admission;
using SafePool.Driver;
using SafePool.Leases;
using SafePool.Lifecycle;
using SafePool.Lifecycle.Enlistments;
using SafePool.Maintenance;
using SafePool.Options;
using SafePool.Reports;
using SafePool.Time;

namespace SafePool.Renting;

/// <summary>Rents that are not served at once: they wait, look closer, prepare the session, or learn why not.</summary>
/// <remarks>
/// The way of such a rent: <c>Ask → (Admittance → ServeAsync)* → End</c>. It goes round again when what it was given turned out to be gone. Who blocks goes round in a loop of its own (<see cref="RentBlocking"/>); the others leave
/// their stack in the queue, and come back through <see cref="GoOn"/>.
/// </remarks>
internal sealed class RentDesk
{
    private const int MostAtRest = 1024;

    private readonly PoolParts _parts;
    private readonly QuietTime _quiet;
    private readonly EnlistedPlaces _enlisted;
    private readonly Refusals _refusals;
    private readonly NestedRents? _nested;
    private readonly Admittance _admittance;
    private readonly LeaseIssuer _issuer;
    private readonly DefaultObjectPool<PendingRent> _rents;

    public RentDesk(
        PoolParts parts, RestingPlaces resting, ConnectionOpener opener, ConnectionReturner returner, EnlistedPlaces enlisted, Refusals refusals,
        ServerWatch watch, QuietTime quiet)
    {
        _parts = parts;
        _quiet = quiet;
        _enlisted = enlisted;
        _refusals = refusals;
        _nested = parts.Settings.Leaks.NestedRents == NestedRentPolicy.Off ? null : new NestedRents(parts);
        _admittance = new Admittance(parts, opener, enlisted, _nested is null ? null : new Deadlock(parts), watch);
        _issuer = new LeaseIssuer(parts, resting, opener, returner, enlisted);
        _rents = new DefaultObjectPool<PendingRent>(new Policy(this), MostAtRest);
    }

    /// <summary>Rents; <paramref name="held"/> is a place that the caller has taken already but whose connection is missing or needs care.</summary>
    public ValueTask<Lease> RentAsync(in RentSite site, RentOptions? options, LeaseSlot? held, CancellationToken cancellationToken)
        => Begin(site, options, held, onto: null, cancellationToken).Task;

    /// <summary>The same for a caller who blocks.</summary>
    public Lease Rent(in RentSite site, RentOptions? options, LeaseSlot? held) => RentBlocking(site, options, held, onto: null);

    /// <summary>The same for a caller who wants to be told of a refusal, not to catch it.</summary>
    public ValueTask<RentOutcome> TryRentAsync(in RentSite site, RentOptions? options, LeaseSlot? held, CancellationToken cancellationToken)
        => Begin(site, options, held, onto: null, cancellationToken).Outcome;

    /// <summary>Whether what is rented on this stack belongs to a transaction.</summary>
    public bool IsWithinTransaction => _enlisted.Ambient() is not null;

    /// <inheritdoc cref="RentsInTransactions.Prepare"/>
    public void PrepareForTransactions() => _enlisted.Prepare();

    /// <summary>Rents onto an object of the caller's own. What the lease has is another one when that could not be opened: <see cref="IConnectionSource.TryTakeEnlisting(NpgsqlConnection)"/>.</summary>
    public ValueTask<Lease> RentOntoAsync(NpgsqlConnection onto, in RentSite site, RentOptions? options, bool blocking, CancellationToken cancellationToken)
        => blocking ? new ValueTask<Lease>(RentBlocking(site, options, held: null, onto)) : Begin(site, options, held: null, onto, cancellationToken).Task;

    /// <summary>Makes a lease of a connection that was opened past the pool, onto a connection at rest, and is in a place that the caller holds.</summary>
    public Lease Issue(LeaseSlot held, in RentSite site, RentOptions? options)
    {
        var rent = _rents.Get();
        try
        {
            Ask(rent, site, options, held, held.Connection, blocking: true, CancellationToken.None);
            return rent.Lease = Synchronously.Result(_issuer.IssueAsync(held, rent));
        }
        finally
        {
            EndFlow(rent);
            TakeBack(rent);
        }
    }

    /// <summary>Rents what is idle, or nothing.</summary>
    public bool TryRent(in RentSite site, LeaseSlot? held, out Lease lease)
    {
        var rent = _rents.Get();
        try
        {
            Ask(rent, site, options: null, held, onto: null, blocking: true, CancellationToken.None);
            for (var slot = held ?? _admittance.Resume(rent) ?? _admittance.TakeIdle(); slot is not null; slot = _admittance.TakeIdle())
            {
                if (Synchronously.Result(_issuer.TryPrepareAsync(slot, rent, long.MaxValue)))
                {
                    rent.Lease = lease = Synchronously.Result(_issuer.IssueAsync(slot, rent));
                    return true;
                }
            }

            lease = default;
            return _parts.Gate.IsClosed ? throw _refusals.Closed() : false;
        }
        finally
        {
            EndFlow(rent);
            TakeBack(rent);
        }
    }

    /// <summary>What a rent makes of what it was given: a lease, or a refusal. False when it has to ask again. Never throws, but fails.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<bool> ServeAsync(PendingRent rent)
    {
        var outcome = rent.Admission.Outcome;
        if (outcome == AdmissionOutcome.CircuitOpen && !_parts.Breaker.IsOpen && _parts.Clock.Exact < rent.Deadline)
        {
            // It was closed again in this moment.
            return false;
        }

        if (outcome != AdmissionOutcome.Granted)
        {
            _refusals.Refuse(rent);
            return true;
        }

        var slot = _parts.Ledger[rent.Admission.Place];

        // A caller who will not wait for a lease waits for the sign of life of the one that was there.
        var isPatient = rent.Patience != TimeSpan.Zero;
        var lookDeadline = isPatient ? rent.Deadline : _parts.Clock.After(rent.Begun, PoolSettings.ReturnPatience);
        if (await _issuer.TryPrepareAsync(slot, rent, lookDeadline).ConfigureAwait(false))
        {
            rent.Lease = await _issuer.IssueAsync(slot, rent).ConfigureAwait(false);
            _parts.Telemetry.Rented(rent.Begun, rent.HasWaited);
            return true;
        }

        // Its connection was gone. It was admitted before all who wait now, so it goes to the front, with what is left of its budget.
        rent.IsReturning = true;
        if (!isPatient || _parts.Clock.Exact < rent.Deadline)
        {
            return false;
        }

        rent.Admission = new AdmissionResult(AdmissionOutcome.TimedOut, _parts.Gate.Read(), AcquirePhase.Probing);
        _refusals.Refuse(rent);
        return true;
    }

    /// <summary>Goes on with a rent that nobody blocks on, from what it has been served with until it is over, or waits.</summary>
    public void GoOn(PendingRent rent, ValueTask<bool> serving)
    {
        Exception? error = null;
        try
        {
            if (!IsOver(rent, serving))
            {
                // It may be over by now, and somebody else's.
                return;
            }
        }
        catch (Exception thrown)
        {
            error = thrown;
        }

        EndFlow(rent);
        rent.End(error);
    }

    /// <summary>Nobody needs it any more.</summary>
    public void TakeBack(PendingRent rent)
    {
        rent.Reset();
        _rents.Return(rent);
    }

    /// <inheritdoc cref="WaitingRoom.ArmNear"/>
    public void ArmNear() => _admittance.ArmNear();

    /// <inheritdoc cref="Admittance.LookForDeadlock"/>
    public void LookForDeadlock() => _admittance.LookForDeadlock();

    private PendingRent Begin(in RentSite site, RentOptions? options, LeaseSlot? held, NpgsqlConnection? onto, CancellationToken cancellationToken)
    {
        var rent = _rents.Get();
        ValueTask<bool> serving;
        try
        {
            Ask(rent, site, options, held, onto, blocking: false, cancellationToken);
            serving = TryResume(rent, held) ? ServeAsync(rent) : new ValueTask<bool>(false);
        }
        catch (Exception error)
        {
            serving = ValueTask.FromException<bool>(error);
        }

        GoOn(rent, serving);
        return rent;
    }

    private Lease RentBlocking(in RentSite site, RentOptions? options, LeaseSlot? held, NpgsqlConnection? onto)
    {
        var rent = _rents.Get();
        try
        {
            Ask(rent, site, options, held, onto, blocking: true, CancellationToken.None);
            for (var isServed = TryResume(rent, held) && Synchronously.Result(ServeAsync(rent)); !isServed; isServed = Synchronously.Result(ServeAsync(rent)))
            {
                _admittance.TryAdmit(rent);
            }

            return rent.Refusal is { } refusal ? throw refusal.ToException() : rent.Lease;
        }
        finally
        {
            EndFlow(rent);
            TakeBack(rent);
        }
    }

    /// <summary>Notes all that must be found out on the caller's own stack and in its own context.</summary>
    private void Ask(
        PendingRent rent, in RentSite site, RentOptions? options, LeaseSlot? held, NpgsqlConnection? onto, bool blocking, CancellationToken cancellationToken)
    {
        if (_parts.Clock.IsStale)
        {
            _quiet.CatchUp();
        }

        rent.Ask(site, options, onto, held is null ? _enlisted.Ambient() : null, _parts.Watch.CallsOf(site), cancellationToken);
        if (held is null)
        {
            RefuseFaults(options);
            cancellationToken.ThrowIfCancellationRequested();
        }

        rent.Begin(_parts, blocking, _nested is null ? _parts.Watch.CurrentTrace() : _nested.Enter(site));
    }

    /// <summary>Whether it has a place before it asks for one.</summary>
    private bool TryResume(PendingRent rent, LeaseSlot? held)
    {
        if ((held ?? _admittance.Resume(rent)) is not { } slot)
        {
            return false;
        }

        rent.Admission = new AdmissionResult(AdmissionOutcome.Granted, slot.Place);
        return true;
    }

    private bool IsOver(PendingRent rent, ValueTask<bool> serving)
    {
        while (serving.IsCompleted)
        {
            if (serving.GetAwaiter().GetResult())
            {
                return true;
            }

            if (!_admittance.TryAdmit(rent))
            {
                return false;
            }

            serving = ServeAsync(rent);
        }

        rent.Await(serving);
        return false;
    }

    private static void EndFlow(PendingRent rent)
    {
        if (rent.Lease.Handle is null)
        {
            rent.Flow?.Ended();
        }
    }

    private static void RefuseFaults(RentOptions? options)
    {
        if (options is not null && ConnectionPoolOptionsValidator.FaultOf(options) is { } fault)
        {
            throw new ArgumentException(fault, nameof(options));
        }
    }

    private sealed class Policy(RentDesk desk) : PooledObjectPolicy<PendingRent>
    {
        public override PendingRent Create() => new(desk);

        public override bool Return(PendingRent obj) => true;
    }
}
