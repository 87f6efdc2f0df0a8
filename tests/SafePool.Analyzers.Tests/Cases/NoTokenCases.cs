namespace SafePool.Analyzers.Tests.Cases;

internal static class NoTokenCases
{
    public static RuleCases All { get; } = new(
        "SFP0008",
        code => $"public class Store {{ {code} }}",
        wrong:
        [
            """public async Task A(IConnectionPool pool, CancellationToken token) { using var lease = await [|pool.RentAsync()|]; }""",
            """public async Task A(ConnectionPool pool, CancellationToken token) { using var lease = await [|pool.RentAsync(new RentOptions())|]; }""",
            """public async Task A(IConnectionPool pool, CancellationToken token) { using var c = await [|pool.OpenConnectionAsync()|]; }""",
            """public Func<CancellationToken, Task> A(IConnectionPool pool) => async token => { using var lease = await [|pool.RentAsync()|]; };""",
            """public async Task A(IConnectionPool pool, CancellationToken token) { async Task B() { using var lease = await [|pool.RentAsync()|]; } await B(); }""",
        ],
        right:
        [
            """public async Task A(IConnectionPool pool, CancellationToken token) { using var lease = await pool.RentAsync(token); }""",
            """public async Task A(IConnectionPool pool, CancellationToken token) { using var lease = await pool.RentAsync(default); }""",
            """public async Task A(IConnectionPool pool, CancellationToken token) { using var lease = await pool.RentAsync(CancellationToken.None); }""",
            """public async Task A(IConnectionPool pool) { using var lease = await pool.RentAsync(); }""",
            """public void A(IConnectionPool pool, CancellationToken token) { using var lease = pool.Rent(); }""",
            """public async Task A(IConnectionPool pool, CancellationToken token) { static async Task B(IConnectionPool p) { using var lease = await p.RentAsync(); } await B(pool); }""",
        ]);
}
