using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;
using Microsoft.Extensions.Primitives;

namespace SafePool.Hosting;

/// <summary>A pool, and what makes it follow its configuration.</summary>
internal sealed class HostedPool : IDisposable, IAsyncDisposable
{
    private readonly PoolRegistration _registration;
    private readonly IOptionsFactory<ConnectionPoolOptions> _options;
    private readonly ConnectionPoolOptions _first;
    private readonly ILogger _logger;
    private readonly IDisposable? _reloading;

    public HostedPool(PoolRegistration registration, IServiceProvider services)
    {
        _registration = registration;
        _options = services.GetRequiredService<IOptionsFactory<ConnectionPoolOptions>>();
        _logger = (services.GetService<ILoggerFactory>() ?? NullLoggerFactory.Instance).CreateLogger("SafePool");
        _first = _options.Create(registration.OptionsName);
        Pool = new ConnectionPool(_first, services.GetService<ILoggerFactory>(), services.GetService<TimeProvider>());
        _reloading = registration.Section is { } section ? ChangeToken.OnChange(section.GetReloadToken, Reload) : null;
    }

    public ConnectionPool Pool { get; }

    public void Dispose()
    {
        _reloading?.Dispose();
        Pool.Dispose();
    }

    public async ValueTask DisposeAsync()
    {
        _reloading?.Dispose();
        await Pool.DisposeAsync().ConfigureAwait(false);
    }

    /// <summary>On the thread of the configuration, which an exception would end.</summary>
    private void Reload()
    {
        try
        {
            var options = _options.Create(_registration.OptionsName);

            // Code that runs again makes delegates anew, which would look like others.
            options.ConfigureDataSource = _first.ConfigureDataSource;
            options.PhysicalConnectionOpened = _first.PhysicalConnectionOpened;
            options.LeaseRented = _first.LeaseRented;
            options.LeaseReturning = _first.LeaseReturning;
            Pool.Reconfigure(options);
        }
        catch (PoolClosedException)
        {
            // The service is stopping: there is nothing left to change.
        }
        catch (OptionsValidationException faults)
        {
            HostingLog.ReloadRefused(_logger, Pool.Name, faults.Message);
        }
        catch (InvalidOperationException unreadable)
        {
            // What the binder says of a key that is no option, or a value that it cannot convert. The inner ones may quote values.
            HostingLog.ReloadRefused(_logger, Pool.Name, unreadable.Message);
        }
    }
}
