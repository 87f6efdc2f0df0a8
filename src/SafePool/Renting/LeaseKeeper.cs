using SafePool.Leases;

namespace SafePool.Renting;

/// <summary>What stands for the user of a <see cref="GovernedConnection"/>: whoever keeps this holds its lease, and when nobody does any more the lease was dropped.</summary>
/// <remarks>
/// An open connection is never garbage, because Npgsql's pool refers to it. So the handle of its lease must hang on something else that lives as long as the user: this, kept for
/// as long as the object that owns the connection. Nothing that the connection or the pool refers to may keep it.
/// </remarks>
internal sealed class LeaseKeeper
{
    public LeaseHandle? Handle { get; set; }
}
