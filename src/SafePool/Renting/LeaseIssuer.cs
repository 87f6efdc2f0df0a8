using System.Data;
using System.Transactions;
using SafePool.Driver;
using SafePool.Driver.Poolers;
using SafePool.Leases;
using SafePool.Lifecycle;
using SafePool.Lifecycle.Enlistments;
using SafePool.Logging;
using SafePool.Options;
using Enlistment = SafePool.Leases.Enlistment;

namespace SafePool.Renting;

/// <summary>Makes a lease of a place that a rent was given: looks at the connection, prepares its session, and issues the lease.</summary>
/// <remarks>Members complete synchronously when the rent blocks, and when there is nothing to say to the server.</remarks>
internal sealed class LeaseIssuer(PoolParts parts, RestingPlaces resting, ConnectionOpener opener, ConnectionReturner returner, EnlistedPlaces enlisted)
{
    private readonly Readiness _readiness = new(parts, resting, returner);

    /// <summary>Makes the connection ready. False when the place is not the caller's any more.</summary>
    /// <param name="slot">The place.</param>
    /// <param name="rent">Who gets it.</param>
    /// <param name="deadline">When the budget for looking at it ends.</param>
    public ValueTask<bool> TryPrepareAsync(LeaseSlot slot, PendingRent rent, long deadline)
    {
        if (slot.Enlistment is not null)
        {
            return SayTimeoutsAsync(slot, rent, deadline);
        }

        var looking = _readiness.TryMakeReadyAsync(slot, rent.Onto, rent.IsBlocking, deadline, rent.CancellationToken);
        return looking.IsCompletedSuccessfully
            ? looking.Result ? PrepareSessionAsync(slot, rent, deadline) : new ValueTask<bool>(false)
            : TryPrepareAsync(slot, rent, looking, deadline);
    }

    /// <summary>Begins the lease.</summary>
    public ValueTask<Lease> IssueAsync(LeaseSlot slot, PendingRent rent)
        => parts.Settings.LeaseRented is null && rent.Ambient is null
            ? new ValueTask<Lease>(Issue(slot, rent))
            : IssueWithCeremonyAsync(slot, rent);

    private async ValueTask<bool> TryPrepareAsync(LeaseSlot slot, PendingRent rent, ValueTask<bool> looking, long deadline)
        => await looking.ConfigureAwait(false) && await PrepareSessionAsync(slot, rent, deadline).ConfigureAwait(false);

    private ValueTask<bool> PrepareSessionAsync(LeaseSlot slot, PendingRent rent, long deadline)
    {
        if (rent.Ambient is not null && enlisted.IsTooOld(slot))
        {
            returner.Retire(slot);
            return new ValueTask<bool>(false);
        }

        return SayTimeoutsAsync(slot, rent, deadline);
    }

    /// <summary>Says to the server what timeouts this lease has, if start-up options have not said it.</summary>
    private ValueTask<bool> SayTimeoutsAsync(LeaseSlot slot, PendingRent rent, long deadline)
    {
        var sql = parts.Timeouts.ForRent(rent.Options) ?? enlisted.UndoTimeout(slot);
        return sql is null && !parts.Path.SetsPerLease
            ? new ValueTask<bool>(true)
            : _readiness.EndsInTimeAsync(slot, SayTimeoutsAsync(slot, rent, sql), rent.IsBlocking, deadline, rent.CancellationToken);
    }

    private async ValueTask SayTimeoutsAsync(LeaseSlot slot, PendingRent rent, string? sql)
    {
        if (sql is not null)
        {
            await parts.Source.ExecuteAsync(slot.Connection!, sql, rent.IsBlocking).ConfigureAwait(false);
        }
        else if (parts.Source.Identify(slot.Connection!) is { } physical)
        {
            switch (await parts.Timeouts.TrySetAsync(slot.Connection!, physical, slot.Enlistment is not null, rent.Options, rent.IsBlocking).ConfigureAwait(false))
            {
                case TimeoutsSaid.OtherBackend:
                    LeaveSessionMode();
                    break;
                case TimeoutsSaid.NotProvable when parts.Path.TryDoubtSessions():
                    PathFinder.ReportNotProvable(parts.Logger, parts.Settings);
                    break;
            }
        }
    }

    /// <summary>A connection met another backend than its own: none of them has one of its own, and none may be reset.</summary>
    private void LeaveSessionMode()
    {
        if (parts.Path.TryDemote())
        {
            Log.PoolerWasMistaken(parts.Logger, parts.Settings.Name, PathFinder.Cure(parts.Settings.SessionTimeouts));
            opener.RetireAll();
        }
    }

    private async ValueTask<Lease> IssueWithCeremonyAsync(LeaseSlot slot, PendingRent rent)
    {
        slot.Prepare(rent.Site, rent.Options);
        if (parts.Settings.LeaseRented is { } hook)
        {
            try
            {
                await parts.Hooks.RunWithinAsync(
                    hook,
                    nameof(ConnectionPoolOptions.LeaseRented),
                    slot.Connection!,
                    rent.IsBlocking,
                    BoundOfHook(rent),
                    rent.CancellationToken).ConfigureAwait(false);
            }
            catch
            {
                await returner.ReturnAsync(slot, rent.IsBlocking, retire: true).ConfigureAwait(false);
                throw;
            }
        }

        if (rent.Ambient is { } transaction)
        {
            await EnlistAsync(slot, transaction, rent).ConfigureAwait(false);
        }

        return Issue(slot, rent);
    }

    /// <summary>What is left of the budget of the rent, but a little in any case: it may have been served at the very end.</summary>
    private TimeSpan BoundOfHook(PendingRent rent)
    {
        var left = rent.Deadline == long.MaxValue ? Timeout.InfiniteTimeSpan : parts.Clock.Until(rent.Deadline);
        return left == Timeout.InfiniteTimeSpan || left > PoolSettings.ReturnPatience ? left : PoolSettings.ReturnPatience;
    }

    private async ValueTask EnlistAsync(LeaseSlot slot, Transaction transaction, PendingRent rent)
    {
        try
        {
            if (slot.Enlistment is null)
            {
                enlisted.Enlist(slot, transaction);
            }

            if (parts.Timeouts.ForTransaction(rent.Options) is { } sql)
            {
                await parts.Source.ExecuteAsync(slot.Connection!, sql, rent.IsBlocking).ConfigureAwait(false);
            }
        }
        catch
        {
            // Within the transaction already: then it must not go on without its timeouts.
            await returner.ReturnAsync(slot, rent.IsBlocking, retire: slot.Enlistment is not null).ConfigureAwait(false);
            throw;
        }
    }

    private Lease Issue(LeaseSlot slot, PendingRent rent)
    {
        slot.Prepare(rent.Site, EnlistedPlaces.OptionsOf(slot, rent.Options));
        var lease = slot.Issue(rent.Calls);
        rent.Flow?.Issued(slot, lease.Id);
        if (parts.Settings.Reset == SessionReset.Strict && rent.Onto is null)
        {
            NoteIfClosedByItsUser(slot, lease.Id);
        }

        return lease;
    }

    /// <summary>What its user closes is at rest before anything could be said to the server; it is said before the next lease then.</summary>
    private void NoteIfClosedByItsUser(LeaseSlot slot, long leaseId)
    {
        var connection = slot.Connection!;
        var physical = parts.Source.Identify(connection);
        connection.StateChange += (_, change) =>
        {
            // Of a lease that has ended already the return closes it, and has said everything.
            if (change.CurrentState == ConnectionState.Closed && slot.LeaseId == leaseId)
            {
                physical?.NeedsUnprepare = true;
                parts.Physicals.RequireCare();
            }
        };
    }
}
