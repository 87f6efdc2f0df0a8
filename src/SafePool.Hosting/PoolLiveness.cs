using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace SafePool.Hosting;

/// <summary>Whether the pool's own loop still turns.</summary>
internal sealed class PoolLiveness(ConnectionPool pool) : IHealthCheck
{
    private static readonly TimeSpan _patience = TimeSpan.FromSeconds(30);

    public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        var since = pool.Parts.Vitals.SinceLastBeat;
        var data = new Dictionary<string, object> { ["secondsSinceMaintenance"] = since.TotalSeconds };
        return Task.FromResult(since < _patience || pool.Parts.Gate.IsClosed
            ? HealthCheckResult.Healthy($"Pool '{pool.Name}' is alive.", data)
            : new HealthCheckResult(
                context.Registration.FailureStatus, $"Pool '{pool.Name}': its maintenance has not run for {since.TotalSeconds:0} s, so no thread of this process has had time.", exception: null, data));
    }
}
