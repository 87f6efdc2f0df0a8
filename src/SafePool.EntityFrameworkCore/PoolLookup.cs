using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.Extensions.DependencyInjection;

namespace SafePool.EntityFrameworkCore;

/// <summary>Finds the pool of a context in dependency injection.</summary>
internal static class PoolLookup
{
    /// <summary>Whether there is one shows at once; it is made later.</summary>
    /// <exception cref="InvalidOperationException">There is none.</exception>
    public static PoolSource Find(IServiceProvider services, string? name)
    {
        if (IsRegistered(services, name))
        {
            return new PoolSource(() => name is null ? services.GetRequiredService<ConnectionPool>() : services.GetRequiredKeyedService<ConnectionPool>(name));
        }

        var found = FindNow(services, name);
        return new PoolSource(() => found);
    }

    private static bool IsRegistered(IServiceProvider services, string? name)
        => name is null
            ? services.GetService<IServiceProviderIsService>()?.IsService(typeof(ConnectionPool)) is true
            : services.GetService<IServiceProviderIsKeyedService>()?.IsKeyedService(typeof(ConnectionPool), name) is true;

    private static ConnectionPool FindNow(IServiceProvider services, string? name)
    {
        var pool = name is null ? services.GetService<ConnectionPool>() : services.GetKeyedService<ConnectionPool>(name);
        var general = pool is not null ? null : name is null ? services.GetService<IConnectionPool>() : services.GetKeyedService<IConnectionPool>(name);
        return pool ?? general as ConnectionPool ?? throw new InvalidOperationException(NotFound(name, general));
    }

    public static IServiceProvider ServicesOf(DbContextOptionsBuilder options)
        => options.Options.FindExtension<CoreOptionsExtension>()?.ApplicationServiceProvider
            ?? throw new InvalidOperationException(
                "UseSafePool(): these options are not built by dependency injection (AddDbContext), so there is no pool to be found. Hand the pool over: UseSafePool(pool).");

    private static string NotFound(string? name, IConnectionPool? other)
    {
        var what = name is null ? "No ConnectionPool is registered" : $"No ConnectionPool is registered with the key '{name}'";
        return other is null
            ? $"UseSafePool: {what} in dependency injection. Register one, or hand it over: UseSafePool(pool)."
            : $"UseSafePool: {what} in dependency injection, and the IConnectionPool there is a {other.GetType().Name}: only a ConnectionPool can open connections of EF Core.";
    }
}
