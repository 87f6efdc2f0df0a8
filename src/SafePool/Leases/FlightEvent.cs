using SafePool.Reports;

namespace SafePool.Leases;

/// <summary>What the flight recorder can tell of.</summary>
internal enum FlightEventKind
{
    Rent,
    Return,
    Wait,
    TimedOut,
    Cancelled,
    Rejected,
    OpenBegan,
    Opened,
    OpenFailed,
    Closed,
    Cleared,
    Paused,
    Resumed,
    Broken,
    Quarantined,
    Released,
    Overdue,
    ReturnedAfterAll,
    Dropped,
    Abandoned,
    Nested,
    CollectionInduced,
    CircuitOpened,
    CircuitClosed,
    ServerLost,
    ServerFull,
    ProbeFailed,
    PoolClosed,
    SessionsRetired,
}

/// <summary>One event: plain values only, so that recording it allocates nothing.</summary>
/// <param name="At">A timestamp of the pool's clock; a quarter of a second coarse for rents that were served at once, and their returns.</param>
/// <param name="Kind">What happened.</param>
/// <param name="Place">Where; -1 for nowhere in particular.</param>
/// <param name="LeaseId">To which lease; 0 for none.</param>
/// <param name="Site">For whom.</param>
internal readonly record struct FlightEvent(long At, FlightEventKind Kind, int Place, long LeaseId, RentSite Site);
