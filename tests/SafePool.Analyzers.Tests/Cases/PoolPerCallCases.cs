namespace SafePool.Analyzers.Tests.Cases;

internal static class PoolPerCallCases
{
    public static RuleCases All { get; } = new(
        "SFP0006",
        code => $"using Microsoft.AspNetCore.Builder; using Microsoft.AspNetCore.Routing; using Microsoft.Extensions.DependencyInjection; public class Store {{ {code} }}",
        wrong:
        [
            """public async Task A() { await using var pool = [|ConnectionPool.Create("Host=x")|]; using var lease = await pool.RentAsync(); }""",
            """public void A() { using (var lease = [|new ConnectionPool(new ConnectionPoolOptions())|].Rent()) { } }""",
            """public void A(IServiceCollection services) => services.AddScoped(_ => [|ConnectionPool.Create("Host=x")|]);""",
            """public void A(IServiceCollection services) => services.AddTransient<IConnectionPool>(_ => [|new ConnectionPool(new ConnectionPoolOptions())|]);""",
            """public void A(IEndpointRouteBuilder app) => app.MapGet("/", async () => { await using var pool = [|ConnectionPool.Create("Host=x")|]; });""",
        ],
        right:
        [
            """public void A(IServiceCollection services) => services.AddSingleton(_ => ConnectionPool.Create("Host=x"));""",
            """private readonly ConnectionPool _pool = ConnectionPool.Create("Host=x"); public ConnectionPool P => _pool;""",
            """private readonly ConnectionPool _pool; public Store() { _pool = ConnectionPool.Create("Host=x"); } public ConnectionPool P => _pool;""",
            """public static ConnectionPool Make() => ConnectionPool.Create("Host=x");""",
            """public static ConnectionPool Make() { var pool = ConnectionPool.Create("Host=x"); return pool; }""",
            """private static readonly Lazy<ConnectionPool> _pool = new(() => ConnectionPool.Create("Host=x")); public ConnectionPool P => _pool.Value;""",
            """[Fact] public async Task A() { await using var pool = ConnectionPool.Create("Host=x"); } public sealed class FactAttribute : Attribute;""",
        ]);
}
