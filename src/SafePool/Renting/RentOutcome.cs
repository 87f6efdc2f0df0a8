using SafePool.Leases;

namespace SafePool;

/// <summary>How a rent by <see cref="IConnectionPool.TryRentAsync"/> ended: with a lease, or with the reason why not.</summary>
/// <remarks>
/// Disposing it returns the lease, if there is one; so does disposing <see cref="Lease"/>, and once is enough. <c>default(RentOutcome)</c> has none, for no reason.
/// </remarks>
/// <example>
/// <code>
/// await using var outcome = await pool.TryRentAsync(cancellationToken: cancellationToken);
/// if (!outcome.Succeeded)
/// {
///     return Results.StatusCode(503);
/// }
///
/// await using var command = outcome.Lease.CreateCommand("SELECT 1");
/// </code>
/// </example>
public readonly struct RentOutcome : IDisposable, IAsyncDisposable
{
    private readonly Lease _lease;
    private readonly Refusal? _refusal;

    internal RentOutcome(Lease lease) => _lease = lease;

    internal RentOutcome(Refusal refusal) => _refusal = refusal;

    /// <summary>Gets whether there is a lease.</summary>
    public bool Succeeded => _lease.Handle is not null;

    /// <summary>Gets the lease.</summary>
    /// <exception cref="PoolException">There is none: what <see cref="IConnectionPool.RentAsync(CancellationToken, string, string, int)"/> would have thrown.</exception>
    /// <exception cref="InvalidOperationException">This is <c>default(RentOutcome)</c>.</exception>
    public Lease Lease => Succeeded
        ? _lease
        : throw (Exception?)ToException() ?? new InvalidOperationException("default(RentOutcome) has no lease.");

    /// <summary>Gets why there is none.</summary>
    public RefusalReason Reason => _refusal?.Reason ?? RefusalReason.None;

    /// <summary>Builds the exception that says why there is none, with its verdict. Costs many times what the refusal did, and only when it is called.</summary>
    /// <returns>What <see cref="IConnectionPool.RentAsync(CancellationToken, string, string, int)"/> would have thrown: the numbers are those of the refusal, the holders those of the first call. Null when there is a lease.</returns>
    public PoolException? ToException() => _refusal?.ToException();

    /// <summary>Returns the lease, if there is one.</summary>
    public void Dispose() => _lease.Dispose();

    /// <summary>Returns the lease, if there is one.</summary>
    /// <returns>A task that ends when the lease is back.</returns>
    public ValueTask DisposeAsync() => _lease.DisposeAsync();
}
