using System.Collections.Concurrent;
using Npgsql;

namespace SafePool.ChaosTests.Invariants;

/// <summary>Which physical connection is in whose hands: never in two, and never in more than there may be.</summary>
/// <remarks>The identity of a physical connection is its parameters object; process ids come again after restarts.</remarks>
internal sealed class Occupancy(Journal journal, int maxSize)
{
    private readonly ConcurrentDictionary<object, string> _holders = new(ReferenceEqualityComparer.Instance);

    public int Count => _holders.Count;

    /// <summary>Notes a lease that was just handed out; null, and a violation, when its connection is not open or is in other hands.</summary>
    public object? Enter(NpgsqlConnection connection, string who)
    {
        object physical;
        try
        {
            physical = connection.PostgresParameters;
        }
        catch (InvalidOperationException error)
        {
            journal.Violate($"{who} got a lease without an open connection: {error.Message}");
            return null;
        }

        if (!_holders.TryAdd(physical, who))
        {
            journal.Violate($"{who} got a connection that {_holders.GetValueOrDefault(physical, "somebody")} still holds");
            return null;
        }

        if (_holders.Count > maxSize)
        {
            journal.Violate($"{_holders.Count} leases are out of a pool of {maxSize}");
        }

        return physical;
    }

    /// <summary>Before the lease goes back: after that its connection may be somebody else's at once.</summary>
    public void Leave(object? physical)
    {
        if (physical is not null)
        {
            _holders.TryRemove(physical, out _);
        }
    }
}
