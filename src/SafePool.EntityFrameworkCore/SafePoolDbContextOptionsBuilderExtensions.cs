using Microsoft.EntityFrameworkCore.Infrastructure;
using Npgsql.EntityFrameworkCore.PostgreSQL.Infrastructure;
using SafePool;
using SafePool.EntityFrameworkCore;

#pragma warning disable IDE0130 // Where UseNpgsql is found, this is found.
namespace Microsoft.EntityFrameworkCore;
#pragma warning restore IDE0130

/// <summary>Lets a <see cref="DbContext"/> take its connections from a <see cref="ConnectionPool"/>, in place of <c>UseNpgsql</c>.</summary>
/// <remarks>
/// <para>
/// Every open of the context's own connection is a lease: the place in the pool is taken before, and given back when the connection closes, whichever way that happens. Connections that
/// are not the pool's, such as those to the maintenance database (<c>EnsureCreated</c>, <c>EnsureDeleted</c>, migrations), are opened by EF Core, outside of the pool.
/// </para>
/// <para>A rent that the pool refuses throws what <see cref="ConnectionPool.Rent"/> throws; <c>EnableRetryOnFailure</c> does not repeat it.</para>
/// </remarks>
public static class SafePoolDbContextOptionsBuilderExtensions
{
    /// <summary>Takes connections from this pool.</summary>
    /// <param name="optionsBuilder">The options of the context.</param>
    /// <param name="pool">The pool; it is not disposed with the context.</param>
    /// <param name="npgsqlOptionsAction">What <c>UseNpgsql</c> would be told: retries, batch sizes, enums. Enums and plugins must be known to the pool as well (<see cref="ConnectionPoolOptions.ConfigureDataSource"/>).</param>
    /// <returns>The same options.</returns>
    public static DbContextOptionsBuilder UseSafePool(
        this DbContextOptionsBuilder optionsBuilder, ConnectionPool pool, Action<NpgsqlDbContextOptionsBuilder>? npgsqlOptionsAction = null)
    {
        ArgumentNullException.ThrowIfNull(optionsBuilder);
        ArgumentNullException.ThrowIfNull(pool);

        return Use(optionsBuilder, new PoolSource(() => pool), npgsqlOptionsAction);
    }

    /// <summary>Takes connections from the pool that dependency injection has: the only one, or the one with a name.</summary>
    /// <param name="optionsBuilder">The options of the context.</param>
    /// <param name="services">Where the pool is registered, as <see cref="ConnectionPool"/> or <see cref="IConnectionPool"/>.</param>
    /// <param name="poolName">The key with which it is registered; <see langword="null"/> for the one without a key.</param>
    /// <param name="npgsqlOptionsAction">What <c>UseNpgsql</c> would be told.</param>
    /// <returns>The same options.</returns>
    /// <remarks>The pool is made when the context first wants a connection: <c>dotnet ef</c> needs none that is configured.</remarks>
    /// <exception cref="InvalidOperationException">There is no such pool.</exception>
    public static DbContextOptionsBuilder UseSafePool(
        this DbContextOptionsBuilder optionsBuilder,
        IServiceProvider services,
        string? poolName = null,
        Action<NpgsqlDbContextOptionsBuilder>? npgsqlOptionsAction = null)
    {
        ArgumentNullException.ThrowIfNull(services);

        return Use(optionsBuilder, PoolLookup.Find(services, poolName), npgsqlOptionsAction);
    }

    /// <summary>Takes connections from the pool in the dependency injection that makes the context (<c>AddDbContext(options => options.UseSafePool())</c>).</summary>
    /// <param name="optionsBuilder">The options of the context.</param>
    /// <param name="npgsqlOptionsAction">What <c>UseNpgsql</c> would be told.</param>
    /// <returns>The same options.</returns>
    /// <exception cref="InvalidOperationException">There is no such pool, or the options are not built by dependency injection.</exception>
    public static DbContextOptionsBuilder UseSafePool(
        this DbContextOptionsBuilder optionsBuilder, Action<NpgsqlDbContextOptionsBuilder>? npgsqlOptionsAction = null)
    {
        ArgumentNullException.ThrowIfNull(optionsBuilder);

        return optionsBuilder.UseSafePool(PoolLookup.ServicesOf(optionsBuilder), poolName: null, npgsqlOptionsAction);
    }

    /// <inheritdoc cref="UseSafePool(DbContextOptionsBuilder, ConnectionPool, Action{NpgsqlDbContextOptionsBuilder}?)"/>
    /// <typeparam name="TContext">The context.</typeparam>
    public static DbContextOptionsBuilder<TContext> UseSafePool<TContext>(
        this DbContextOptionsBuilder<TContext> optionsBuilder, ConnectionPool pool, Action<NpgsqlDbContextOptionsBuilder>? npgsqlOptionsAction = null)
        where TContext : DbContext
        => (DbContextOptionsBuilder<TContext>)((DbContextOptionsBuilder)optionsBuilder).UseSafePool(pool, npgsqlOptionsAction);

    /// <inheritdoc cref="UseSafePool(DbContextOptionsBuilder, IServiceProvider, string?, Action{NpgsqlDbContextOptionsBuilder}?)"/>
    /// <typeparam name="TContext">The context.</typeparam>
    public static DbContextOptionsBuilder<TContext> UseSafePool<TContext>(
        this DbContextOptionsBuilder<TContext> optionsBuilder,
        IServiceProvider services,
        string? poolName = null,
        Action<NpgsqlDbContextOptionsBuilder>? npgsqlOptionsAction = null)
        where TContext : DbContext
        => (DbContextOptionsBuilder<TContext>)((DbContextOptionsBuilder)optionsBuilder).UseSafePool(services, poolName, npgsqlOptionsAction);

    /// <inheritdoc cref="UseSafePool(DbContextOptionsBuilder, Action{NpgsqlDbContextOptionsBuilder}?)"/>
    /// <typeparam name="TContext">The context.</typeparam>
    public static DbContextOptionsBuilder<TContext> UseSafePool<TContext>(
        this DbContextOptionsBuilder<TContext> optionsBuilder, Action<NpgsqlDbContextOptionsBuilder>? npgsqlOptionsAction = null)
        where TContext : DbContext
        => (DbContextOptionsBuilder<TContext>)((DbContextOptionsBuilder)optionsBuilder).UseSafePool(npgsqlOptionsAction);

    private static DbContextOptionsBuilder Use(DbContextOptionsBuilder optionsBuilder, PoolSource source, Action<NpgsqlDbContextOptionsBuilder>? npgsqlOptionsAction)
    {
        optionsBuilder.UseNpgsql(new PoolDataSource(source), npgsqlOptionsAction).AddInterceptors(new LeaseInterceptor(source), new DropInterceptor(source), new MovedCommandInterceptor(source));
        ((IDbContextOptionsBuilderInfrastructure)optionsBuilder).AddOrUpdateExtension(new LastInterceptorExtension());
        return optionsBuilder;
    }
}
