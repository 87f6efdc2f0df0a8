using System.Data;
using Npgsql;
using SafePool.Driver;
using SafePool.Leases;
using SafePool.Time;

namespace SafePool.Diagnostics;

/// <summary>Looks at what leased connections are doing, four times a second: Npgsql has no hook that tells.</summary>
/// <remarks>
/// Written by the maintenance loop alone; read by anybody. A sample belongs to one lease and counts only while that lease is out, so a read that races with
/// the next lease finds nothing rather than something wrong.
/// </remarks>
internal sealed class ActivitySampler(LeaseLedger ledger, IConnectionSource source, PoolClock clock)
{
    private volatile Sample[] _samples = [];

    /// <summary>One look at one lease.</summary>
    public void Look(LeaseSlot slot, long leaseId)
    {
        if (slot.Place >= _samples.Length)
        {
            _samples = [.. _samples, .. new Sample[ledger.Slots.Length - _samples.Length]];
        }

        ref var sample = ref _samples[slot.Place];
        if (sample.LeaseId != leaseId)
        {
            sample = new Sample { LeaseId = leaseId };
        }

        var wasBusy = sample.IsBusy;
        var state = StateOf(slot);
        sample.IsBusy = IsBusy(state);
        sample.LastRanAt = (state & ConnectionState.Executing) != 0 ? clock.Exact : sample.LastRanAt;
        sample.Looks++;
        if (sample.IsBusy)
        {
            sample.BusyLooks++;
            sample.LastBusyAt = clock.Exact;
            sample.BusySince = wasBusy ? sample.BusySince : sample.LastBusyAt;
        }
    }

    /// <summary>What is known of a lease by looking at its connection, now and before.</summary>
    public Observation Observe(LeaseSlot slot, long leaseId)
    {
        var samples = _samples;
        var sample = slot.Place < samples.Length ? samples[slot.Place] : default;
        if (sample.LeaseId != leaseId)
        {
            sample = default;
        }

        var state = StateOf(slot);
        var quietSince = Math.Max(Math.Max(slot.UsedAt, slot.RentedAt), sample.LastBusyAt);
        return new Observation(
            ActivityOf(state, slot.LastTransaction),
            IsBusy(state) ? TimeSpan.Zero : clock.RunningSince(quietSince),
            IsBusy(state) && sample.IsBusy ? clock.RunningSince(Math.Max(sample.BusySince, slot.UsedAt)) : TimeSpan.Zero,
            sample.Looks == 0 ? 0 : (double)sample.BusyLooks / sample.Looks,
            Math.Max(slot.UsedAt, sample.LastRanAt));
    }

    private ConnectionState StateOf(LeaseSlot slot)
        => slot.Connection is { } connection ? source.StateOf(connection) : ConnectionState.Closed;

    private static bool IsBusy(ConnectionState state) => (state & (ConnectionState.Executing | ConnectionState.Fetching)) != 0;

    private static LeaseActivity ActivityOf(ConnectionState state, NpgsqlTransaction? transaction)
        => (state & ConnectionState.Executing) != 0 ? LeaseActivity.Running
            : (state & ConnectionState.Fetching) != 0 ? LeaseActivity.Reading
            : Transactions.IsOpen(transaction) ? LeaseActivity.IdleInTransaction
            : LeaseActivity.Idle;

    private struct Sample
    {
        public long LeaseId;
        public long LastBusyAt;
        public long LastRanAt;
        public long BusySince;
        public bool IsBusy;
        public int Looks;
        public int BusyLooks;
    }
}

/// <summary>What was seen of a lease.</summary>
/// <param name="Activity">What its connection does now.</param>
/// <param name="QuietFor">Since it was last seen at work, or asked for its connection; without the time in which the process stood
/// still.</param>
/// <param name="BusyFor">For how long every look has found it at work, without a use of the lease in between.</param>
/// <param name="BusyShare">The share of looks that did.</param>
/// <param name="WorkedAt">When it was last asked for its connection, or seen to run a command: somebody did that. An open reader proves nobody.</param>
internal readonly record struct Observation(LeaseActivity Activity, TimeSpan QuietFor, TimeSpan BusyFor, double BusyShare, long WorkedAt);
