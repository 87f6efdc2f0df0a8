using Npgsql;
using SafePool.Errors;

namespace SafePool.Leases;

/// <summary>A connection of a lease that its user has closed and opened again, perhaps with another database or string: allowed as long as it leads to a session of the pool.</summary>
internal static class ReopenedConnection
{
    /// <summary>Called in the midst of the open. One that went past the gate is ended for good.</summary>
    /// <exception cref="InvalidOperationException">It did.</exception>
    public static void Check(PoolParts parts, NpgsqlConnection connection)
    {
        if (parts.Source.Identify(connection) is null)
        {
            parts.Source.RetireAsync(connection).GetAwaiter().GetResult();
            throw new InvalidOperationException(Sentences.OpenedPastThePool(parts.Settings.Name));
        }
    }
}
