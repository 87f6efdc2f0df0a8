using Microsoft.Extensions.Diagnostics.HealthChecks;
using SafePool;
using SafePool.Hosting;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Health checks of pools. They take no connection, and answer from what is known.</summary>
public static class PoolHealthChecksBuilderExtensions
{
    /// <summary>Whether callers can expect a connection: for a load balancer.</summary>
    /// <remarks>
    /// Unhealthy (or <paramref name="failureStatus"/>): the circuit is open, the pool is paused or closed, or <see cref="ConnectionPoolOptions.MinSize"/> was not open yet. Degraded: callers wait for leases, a lease is overdue, or
    /// more than four fifths of the server's <c>max_connections</c> are in use, as its last answer said; it is asked over the control connection, four times a minute at most, beside the check.
    /// The data has the counts.
    /// </remarks>
    /// <param name="builder">From <c>services.AddHealthChecks()</c>.</param>
    /// <param name="key">The key of the pool; null for the one without.</param>
    /// <param name="failureStatus">Instead of unhealthy.</param>
    /// <param name="tags">By default "ready".</param>
    /// <returns>The same builder.</returns>
    public static IHealthChecksBuilder AddSafePoolReadiness(
        this IHealthChecksBuilder builder, string? key = null, HealthStatus? failureStatus = null, IEnumerable<string>? tags = null)
        => Add(builder, "readiness", key, pool => new PoolReadiness(pool), failureStatus, tags ?? ["ready"]);

    /// <summary>Whether the pool itself works: for whoever restarts processes.</summary>
    /// <remarks>
    /// Never unhealthy because of the database: restarting a service does not mend that. Unhealthy when the pool's maintenance has not come by for half a minute, because no thread had time for it.
    /// </remarks>
    /// <param name="builder">From <c>services.AddHealthChecks()</c>.</param>
    /// <param name="key">The key of the pool; null for the one without.</param>
    /// <param name="failureStatus">Instead of unhealthy.</param>
    /// <param name="tags">By default "live".</param>
    /// <returns>The same builder.</returns>
    public static IHealthChecksBuilder AddSafePoolLiveness(
        this IHealthChecksBuilder builder, string? key = null, HealthStatus? failureStatus = null, IEnumerable<string>? tags = null)
        => Add(builder, "liveness", key, pool => new PoolLiveness(pool), failureStatus, tags ?? ["live"]);

    private static IHealthChecksBuilder Add(
        IHealthChecksBuilder builder, string flavour, string? key, Func<ConnectionPool, IHealthCheck> create, HealthStatus? failureStatus, IEnumerable<string> tags)
    {
        ArgumentNullException.ThrowIfNull(builder);

        // One check for the life of the service: it remembers.
        IHealthCheck? made = null;
        var gate = new Lock();
        return builder.Add(new HealthCheckRegistration(key is null ? $"safepool {flavour}" : $"safepool {key} {flavour}", Make, failureStatus, tags));

        IHealthCheck Make(IServiceProvider services)
        {
            lock (gate)
            {
                return made ??= create(key is null ? services.GetRequiredService<ConnectionPool>() : services.GetRequiredKeyedService<ConnectionPool>(key));
            }
        }
    }
}
