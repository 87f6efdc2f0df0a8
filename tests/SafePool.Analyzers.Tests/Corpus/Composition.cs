// Dependency injection, start-up, EF Core's neighbours.
using Microsoft.Extensions.DependencyInjection;

internal static class RightRegistration
{
    public static void Add(IServiceCollection services, string connectionString)
    {
        services.AddSafePool(connectionString);
        services.AddSingleton<IConnectionPool>(_ => ConnectionPool.Create(connectionString));
        services.AddKeyedSingleton("reports", (_, _) => ConnectionPool.Create(connectionString, options => options.MaxSize = 4));
    }
}

internal static class ScopedRegistration
{
    public static void Add(IServiceCollection services, string connectionString)
        => services.AddScoped(_ => ConnectionPool.Create(connectionString)); // expect: SFP0006
}

internal static class TransientRegistration
{
    public static void Add(IServiceCollection services, string connectionString)
        => services.AddTransient<IConnectionPool>(_ => ConnectionPool.Create(connectionString)); // expect: SFP0006
}

internal static class ScopedLease
{
    // The container disposes what it made.
    public static void Add(IServiceCollection services) => services.AddScoped(provider => new LeaseHolder(provider.GetRequiredService<ConnectionPool>().Rent()));

    internal sealed class LeaseHolder(Lease lease) : IDisposable
    {
        public Lease Lease { get; } = lease;

        public void Dispose() => Lease.Dispose();
    }
}

internal sealed class PoolPerJob
{
    public async Task RunAsync()
    {
        await using var pool = ConnectionPool.Create("Host=db"); // expect: SFP0006
        await using var lease = await pool.RentAsync();
    }
}

internal sealed class PoolOwner : IAsyncDisposable
{
    private readonly ConnectionPool _pool = ConnectionPool.Create("Host=db");

    public Lease Rent() => _pool.Rent();

    public ValueTask DisposeAsync() => _pool.DisposeAsync();
}

internal sealed class LazyPool
{
    private readonly Lazy<ConnectionPool> _pool = new(() => ConnectionPool.Create("Host=db"));

    public ValueTask<Lease> RentAsync(CancellationToken cancellationToken) => _pool.Value.RentAsync(cancellationToken);
}

internal static class WarmStart
{
    public static async Task CheckAsync(IServiceProvider services)
    {
        var pool = services.GetRequiredService<ConnectionPool>();
        await pool.WarmUpAsync();
        _ = await pool.RentAsync(); // expect: SFP0001
    }
}

internal static class BlockingStart
{
    public static void Check(IServiceProvider services)
    {
        using var connection = services.GetRequiredService<ConnectionPool>().OpenConnectionAsync().AsTask().GetAwaiter().GetResult(); // expect: SFP0007
        Console.WriteLine(connection.PostgreSqlVersion);
    }
}
