using Npgsql;
using SafePool.Leases;
using SafePool.Reports;

namespace SafePool.Lifecycle;

/// <summary>What a careful close needs of the lease that it ends. A copy: a close that hangs may outlast the quarantine of its place, which another lease has by then.</summary>
internal sealed class ClosingLease(LeaseSlot slot)
{
    private volatile bool _isWrittenOff;

    public NpgsqlConnection Connection { get; } = slot.Connection!;

    public int Generation { get; } = slot.Generation;

    public RentSite Site { get; } = slot.Site;

    public bool HasOwnTimeout { get; } = slot.Options?.StatementTimeout is not null;

    public NpgsqlTransaction? LastTransaction { get; } = slot.LastTransaction;

    public Enlistment? Enlistment { get; } = slot.Enlistment;

    /// <summary>Its place has been given up: nobody waits for the close any more, and nothing may depend on it.</summary>
    public bool IsWrittenOff
    {
        get => _isWrittenOff;
        set => _isWrittenOff = value;
    }
}
