using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace SafePool.Hosting;

/// <summary>Creates the pools before other hosted services start, and drains them after those have stopped.</summary>
/// <remarks>A database that is down does not keep the service from starting: readiness says that it is not ready.</remarks>
internal sealed class PoolLifetime(IServiceProvider services, IEnumerable<PoolRegistration> registrations, ILoggerFactory loggers) : IHostedLifecycleService, IDisposable
{
    private readonly ILogger _logger = loggers.CreateLogger("SafePool");
    private readonly CancellationTokenSource _stopping = new();

    public Task StartingAsync(CancellationToken cancellationToken)
    {
        foreach (var pool in Pools())
        {
            _ = WarmUpAsync(pool);
        }

        return Task.CompletedTask;
    }

    public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StartedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StoppingAsync(CancellationToken cancellationToken) => _stopping.CancelAsync();

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <summary>After every <c>StopAsync</c>, that of the web server included.</summary>
    public Task StoppedAsync(CancellationToken cancellationToken) => Task.WhenAll(Pools().Select(pool => DrainAsync(pool, cancellationToken)));

    public void Dispose() => _stopping.Dispose();

    private IEnumerable<ConnectionPool> Pools() => registrations.Select(registration => services.GetRequiredKeyedService<HostedPool>(registration).Pool);

    private async Task WarmUpAsync(ConnectionPool pool)
    {
        try
        {
            await pool.WarmUpAsync(_stopping.Token).ConfigureAwait(false);
        }
        catch (Exception) when (_stopping.IsCancellationRequested)
        {
            // Nobody needs it any more.
        }
        catch (Exception error)
        {
            HostingLog.WarmUpFailed(_logger, pool.Name, error);
        }
    }

    private async Task DrainAsync(ConnectionPool pool, CancellationToken cancellationToken)
    {
        DrainReport report;
        try
        {
            report = await pool.DrainAsync(Timeout.InfiniteTimeSpan, cancellationToken).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            // The time that the host gives for its end is over: who is left?
            report = await pool.DrainAsync(TimeSpan.Zero, CancellationToken.None).ConfigureAwait(false);
        }

        if (report.Drained)
        {
            HostingLog.Drained(_logger, pool.Name, report.Elapsed.TotalSeconds);
        }
        else
        {
            HostingLog.NotDrained(_logger, pool.Name, report.Remaining.Length, string.Join("; ", report.Remaining.Take(10)));
        }
    }
}
