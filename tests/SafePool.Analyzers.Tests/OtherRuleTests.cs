using Microsoft.CodeAnalysis;
using Xunit;

namespace SafePool.Analyzers.Tests;

/// <summary>SFP0006 to SFP0008.</summary>
public sealed class OtherRuleTests
{
    [Theory]
    [InlineData("using var lease = [|pool.RentAsync().Result|];")]
    [InlineData("using var lease = [|pool.RentAsync().GetAwaiter().GetResult()|];")]
    [InlineData("using var lease = [|pool.RentAsync().AsTask().Result|];")]
    [InlineData("using var lease = [|pool.RentAsync().AsTask().GetAwaiter().GetResult()|];")]
    [InlineData("using var lease = [|pool.RentAsync().ConfigureAwait(false).GetAwaiter().GetResult()|];")]
    [InlineData("[|pool.RentAsync().AsTask().Wait()|];")]
    [InlineData("using var connection = [|pool.OpenConnectionAsync().AsTask().Result|];")]
    [InlineData("using var lease = await pool.RentAsync();")]
    [InlineData("using var lease = pool.Rent();")]
    [InlineData("using var lease = await pool.RentAsync().ConfigureAwait(false);")]
    [InlineData("var task = Task.FromResult(1); Console.WriteLine(task.Result);")]
    [InlineData("using var connection = pool.OpenConnection();")]
    [InlineData("using var lease = await pool.RentAsync().AsTask().WaitAsync(TimeSpan.FromSeconds(1));")]
    public Task Blocking_OnARent(string statements) => Verify.StatementsAsync<BlockingRentAnalyzer>(statements);

    [Theory]
    [InlineData("public async Task A(IConnectionPool pool, CancellationToken token) { using var lease = await [|pool.RentAsync()|]; }")]
    [InlineData("public async Task A(ConnectionPool pool, CancellationToken token) { using var lease = await [|pool.RentAsync(new RentOptions())|]; }")]
    [InlineData("public async Task A(IConnectionPool pool, CancellationToken token) { using var c = await [|pool.OpenConnectionAsync()|]; }")]
    [InlineData("public Func<CancellationToken, Task> A(IConnectionPool pool) => async token => { using var lease = await [|pool.RentAsync()|]; };")]
    [InlineData("public async Task A(IConnectionPool pool, CancellationToken token) { async Task B() { using var lease = await [|pool.RentAsync()|]; } await B(); }")]
    [InlineData("public async Task A(IConnectionPool pool, CancellationToken token) { using var lease = await pool.RentAsync(token); }")]
    [InlineData("public async Task A(IConnectionPool pool, CancellationToken token) { using var lease = await pool.RentAsync(default); }")]
    [InlineData("public async Task A(IConnectionPool pool, CancellationToken token) { using var lease = await pool.RentAsync(CancellationToken.None); }")]
    [InlineData("public async Task A(IConnectionPool pool) { using var lease = await pool.RentAsync(); }")]
    [InlineData("public void A(IConnectionPool pool, CancellationToken token) { using var lease = pool.Rent(); }")]
    [InlineData("public async Task A(IConnectionPool pool, CancellationToken token) { static async Task B(IConnectionPool p) { using var lease = await p.RentAsync(); } await B(pool); }")]
    public Task Token_InScope(string member) => Verify.CodeAsync<NoTokenAnalyzer>($"public class Store {{ {member} }}");

    [Theory]
    [InlineData("public async Task A() { await using var pool = [|ConnectionPool.Create(\"Host=x\")|]; using var lease = await pool.RentAsync(); }")]
    [InlineData("public void A() { using (var lease = [|new ConnectionPool(new ConnectionPoolOptions())|].Rent()) { } }")]
    [InlineData("public void A(IServiceCollection services) => services.AddScoped(_ => [|ConnectionPool.Create(\"Host=x\")|]);")]
    [InlineData("public void A(IServiceCollection services) => services.AddTransient<IConnectionPool>(_ => [|new ConnectionPool(new ConnectionPoolOptions())|]);")]
    [InlineData("public void A(IEndpointRouteBuilder app) => app.MapGet(\"/\", async () => { await using var pool = [|ConnectionPool.Create(\"Host=x\")|]; });")]
    [InlineData("public void A(IServiceCollection services) => services.AddSingleton(_ => ConnectionPool.Create(\"Host=x\"));")]
    [InlineData("private readonly ConnectionPool _pool = ConnectionPool.Create(\"Host=x\"); public ConnectionPool P => _pool;")]
    [InlineData("private readonly ConnectionPool _pool; public Store() { _pool = ConnectionPool.Create(\"Host=x\"); } public ConnectionPool P => _pool;")]
    [InlineData("public static ConnectionPool Make() => ConnectionPool.Create(\"Host=x\");")]
    [InlineData("public static ConnectionPool Make() { var pool = ConnectionPool.Create(\"Host=x\"); return pool; }")]
    [InlineData("private static readonly Lazy<ConnectionPool> _pool = new(() => ConnectionPool.Create(\"Host=x\")); public ConnectionPool P => _pool.Value;")]
    [InlineData("[Fact] public async Task A() { await using var pool = ConnectionPool.Create(\"Host=x\"); } public sealed class FactAttribute : Attribute;")]
    public Task Pool_PerCall(string member) => Verify.CodeAsync<PoolPerCallAnalyzer>(
        $"using Microsoft.AspNetCore.Builder; using Microsoft.AspNetCore.Routing; using Microsoft.Extensions.DependencyInjection; public class Store {{ {member} }}");

    [Fact]
    public Task Pool_OfTheProgram_MayBeMadeInMain()
        => Verify.CodeAsync<PoolPerCallAnalyzer>("await using var pool = ConnectionPool.Create(\"Host=x\"); using var lease = await pool.RentAsync();", OutputKind.ConsoleApplication);

    [Fact]
    public async Task Compilation_WithoutSafePool_IsLeftAlone()
    {
        var compilation = Snippets.Compile(
            "public class Pool { public System.IDisposable Rent() => null!; public void Use() { Rent(); } }", withSafePool: false);

        Assert.Empty(await Snippets.AnalyzeAsync(compilation, new NotReturnedAnalyzer(), new NoTokenAnalyzer(), new BlockingRentAnalyzer(), new PoolPerCallAnalyzer()));
    }

    [Fact]
    public async Task Code_ThatIsGenerated_IsLeftAlone()
        => await Verify.CodeAsync<NotReturnedAnalyzer>("// <auto-generated/>\npublic class Store { public void A(IConnectionPool pool) { pool.Rent(); } }");
}
