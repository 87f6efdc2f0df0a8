using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;
using SafePool;
using SafePool.Hosting;
using SafePool.Options;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Adds pools to a service.</summary>
/// <remarks>
/// <para>
/// Each is a singleton, as <see cref="ConnectionPool"/> and <see cref="IConnectionPool"/>; a keyed one for each further database. Options are checked when the host starts, all pools and all
/// faults at once. The host creates the pools before other hosted services start, opens <see cref="ConnectionPoolOptions.MinSize"/> in the background, and drains them after everything else
/// has stopped, the web server included: what is in flight may rent until then.
/// </para>
/// <para>
/// Whatever configures <see cref="ConnectionPoolOptions"/> works here too, under the pool's key as the name of the options: <c>services.AddOptions&lt;ConnectionPoolOptions&gt;("reports").Configure&lt;IMyService&gt;(…)</c>.
/// <c>ILoggerFactory</c> and <see cref="TimeProvider"/> are taken from the container.
/// </para>
/// </remarks>
public static class SafePoolServiceCollectionExtensions
{
    /// <summary>Adds the pool of a connection string.</summary>
    /// <param name="services">The service's services.</param>
    /// <param name="connectionString">An Npgsql connection string.</param>
    /// <param name="configure">Changes what was said so far.</param>
    /// <returns>The same services.</returns>
    /// <exception cref="InvalidOperationException">There is such a pool already.</exception>
    public static IServiceCollection AddSafePool(this IServiceCollection services, string connectionString, Action<ConnectionPoolOptions>? configure = null)
        => Add(services, key: null, section: null, options => options.ConnectionString = connectionString, configure);

    /// <summary>Adds a pool whose options come from a section of the configuration, and follow it while the service runs.</summary>
    /// <remarks>
    /// Every option can be there, <c>Leaks:Threshold</c> and <c>Breaker:TripAfter</c> too; a key that is none is an error. When the section changes, what can change while a pool lives does
    /// (<see cref="ConnectionPool.Reconfigure(ConnectionPoolOptions)"/>), the rest is refused in the log, and a fault leaves everything as it was. An infinite time is <c>-00:00:00.001</c>.
    /// </remarks>
    /// <param name="services">The service's services.</param>
    /// <param name="section">Has the options by their names.</param>
    /// <param name="configure">Changes what was said so far.</param>
    /// <returns>The same services.</returns>
    /// <exception cref="InvalidOperationException">There is such a pool already.</exception>
    public static IServiceCollection AddSafePool(this IServiceCollection services, IConfiguration section, Action<ConnectionPoolOptions>? configure = null)
        => Add(services, key: null, section ?? throw new ArgumentNullException(nameof(section)), configure);

    /// <summary>Adds a pool.</summary>
    /// <param name="services">The service's services.</param>
    /// <param name="configure">Sets the options.</param>
    /// <returns>The same services.</returns>
    /// <exception cref="InvalidOperationException">There is such a pool already.</exception>
    public static IServiceCollection AddSafePool(this IServiceCollection services, Action<ConnectionPoolOptions> configure)
        => Add(services, key: null, section: null, configure ?? throw new ArgumentNullException(nameof(configure)));

    /// <summary>Adds the pool of a connection string beside others, for <c>[FromKeyedServices("reports")] ConnectionPool</c>.</summary>
    /// <param name="services">The service's services.</param>
    /// <param name="key">Tells it apart; the name of its options, and of the pool unless that has another.</param>
    /// <param name="connectionString">An Npgsql connection string.</param>
    /// <param name="configure">Changes what was said so far.</param>
    /// <returns>The same services.</returns>
    /// <exception cref="InvalidOperationException">There is such a pool already.</exception>
    public static IServiceCollection AddKeyedSafePool(
        this IServiceCollection services, string key, string connectionString, Action<ConnectionPoolOptions>? configure = null)
        => Add(services, Checked(key), section: null, options => options.ConnectionString = connectionString, configure);

    /// <summary>Adds a pool beside others whose options come from a section of the configuration, and follow it while the service runs.</summary>
    /// <remarks>
    /// Every option can be there, <c>Leaks:Threshold</c> and <c>Breaker:TripAfter</c> too; a key that is none is an error. When the section changes, what can change while a pool lives does
    /// (<see cref="ConnectionPool.Reconfigure(ConnectionPoolOptions)"/>), the rest is refused in the log, and a fault leaves everything as it was. An infinite time is <c>-00:00:00.001</c>.
    /// </remarks>
    /// <param name="services">The service's services.</param>
    /// <param name="key">Tells it apart; the name of its options, and of the pool unless that has another.</param>
    /// <param name="section">Has the options by their names.</param>
    /// <param name="configure">Changes what was said so far.</param>
    /// <returns>The same services.</returns>
    /// <exception cref="InvalidOperationException">There is such a pool already.</exception>
    public static IServiceCollection AddKeyedSafePool(
        this IServiceCollection services, string key, IConfiguration section, Action<ConnectionPoolOptions>? configure = null)
        => Add(services, Checked(key), section ?? throw new ArgumentNullException(nameof(section)), configure);

    /// <summary>Adds a pool beside others.</summary>
    /// <param name="services">The service's services.</param>
    /// <param name="key">Tells it apart; the name of its options, and of the pool unless that has another.</param>
    /// <param name="configure">Sets the options.</param>
    /// <returns>The same services.</returns>
    /// <exception cref="InvalidOperationException">There is such a pool already.</exception>
    public static IServiceCollection AddKeyedSafePool(this IServiceCollection services, string key, Action<ConnectionPoolOptions> configure)
        => Add(services, Checked(key), section: null, configure ?? throw new ArgumentNullException(nameof(configure)));

    private static IServiceCollection Add(
        IServiceCollection services, string? key, IConfiguration? section, params ReadOnlySpan<Action<ConnectionPoolOptions>?> configurations)
    {
        ArgumentNullException.ThrowIfNull(services);
        var registration = new PoolRegistration(key, section);
        if (services.Any(service => service.ImplementationInstance is PoolRegistration other && other.Key == key))
        {
            throw new InvalidOperationException(key is null
                ? "AddSafePool was called twice. Give one of the pools a key: AddKeyedSafePool(\"reports\", …)."
                : $"AddKeyedSafePool was called twice with the key '{key}'. Give each pool a key of its own.");
        }

        var options = services.AddOptions<ConnectionPoolOptions>(registration.OptionsName).ValidateOnStart();
        if (section is not null)
        {
            // Not Bind: its change token would make an IOptionsMonitor throw on the thread of the configuration when a change is at fault. See PoolReload.
            options.Configure(target => section.Bind(target, binder => binder.ErrorOnUnknownConfiguration = true));
        }

        foreach (var configure in configurations)
        {
            if (configure is not null)
            {
                options.Configure(configure);
            }
        }

        options.PostConfigure(target => target.Name ??= key);
        services.TryAddEnumerable(ServiceDescriptor.Singleton<IValidateOptions<ConnectionPoolOptions>, ConnectionPoolOptionsValidator>());
        services.TryAddEnumerable(ServiceDescriptor.Singleton<IHostedService, PoolLifetime>());
        services.AddSingleton(registration);
        services.AddKeyedSingleton(registration, (provider, _) => new HostedPool(registration, provider));
        if (key is null)
        {
            services.AddSingleton(provider => provider.GetRequiredKeyedService<HostedPool>(registration).Pool);
            services.AddSingleton<IConnectionPool>(provider => provider.GetRequiredService<ConnectionPool>());
        }
        else
        {
            services.AddKeyedSingleton(key, (provider, _) => provider.GetRequiredKeyedService<HostedPool>(registration).Pool);
            services.AddKeyedSingleton<IConnectionPool>(key, (provider, name) => provider.GetRequiredKeyedService<ConnectionPool>(name));
        }

        return services;
    }

    private static string Checked(string key)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(key);
        return key;
    }
}
