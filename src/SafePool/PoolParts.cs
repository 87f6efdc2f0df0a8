using Microsoft.Extensions.Logging;
using SafePool.Admission;
using SafePool.Connections;
using SafePool.Leases;
using SafePool.Maintenance;
using SafePool.Options;

namespace SafePool;

/// <summary>What the rooms of one pool share: its state, and nothing that acts.</summary>
internal sealed record PoolParts(
    PoolSettings Settings,
    PoolClock Clock,
    AdmissionGate Gate,
    LeaseLedger Ledger,
    IConnectionSource Source,
    PhysicalConnections Physicals,
    ILogger Logger)
{
    public TimeProvider Time => Clock.Provider;
}
