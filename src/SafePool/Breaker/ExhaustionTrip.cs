using SafePool.Admission;
using SafePool.Leases;
using SafePool.Options;
using SafePool.Time;

namespace SafePool.Breaker;

/// <summary>Notices a pool whose connections are all leased and which gets none back (<see cref="BreakerOptions.TripOnExhaustionAfter"/>).</summary>
/// <remarks>
/// Returns leave no note of themselves on the hot path. But a lease that comes back to a full pool is handed on, which counts as a rent, or makes it a pool that
/// is not full: so while it is full and no rent was served, nothing has come back.
/// </remarks>
internal sealed class ExhaustionTrip(BreakerSettings settings, AdmissionGate gate, LeaseLedger ledger, PoolClock clock)
{
    private const long Never = long.MaxValue;

    private volatile BreakerSettings _settings = settings;
    private long _since = Never;
    private long _rents;

    /// <summary>Whether new rents are to fail at once. Ends with the first lease that comes back.</summary>
    public bool IsTripped
        => Volatile.Read(ref _since) is var since and not Never
            && clock.RunningSince(since) >= _settings.TripOnExhaustionAfter
            && ledger.TotalRents == Volatile.Read(ref _rents)
            && IsStuck(gate.Read());

    /// <summary>Changes the patience.</summary>
    public void Apply(BreakerSettings settings) => _settings = settings;

    /// <summary>One look; called by the maintenance loop.</summary>
    public void Look()
    {
        if (_settings.TripOnExhaustionAfter is null)
        {
            return;
        }

        var rents = ledger.TotalRents;
        if (!IsStuck(gate.Read()))
        {
            Volatile.Write(ref _since, Never);
        }
        else if (_since == Never || rents != _rents)
        {
            Volatile.Write(ref _rents, rents);
            Volatile.Write(ref _since, clock.Exact);
        }
    }

    private static bool IsStuck(GateCounts counts) => counts is { IsFull: true, Leased: > 0 };
}
