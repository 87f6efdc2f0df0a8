namespace SafePool.Analyzers.Tests.Cases;

internal static class NestedRentCases
{
    public static RuleCases All { get; } = new(
        "SFP0004",
        code => $"using System.Net.Http; public class Store(IConnectionPool given) {{ private readonly IConnectionPool pool = given; {code} }}",
        wrong:
        [
            """public async Task A() { using var one = await pool.RentAsync(); using var two = await [|pool.RentAsync()|]; }""",
            """public void A() { using (var one = pool.Rent()) { using (var two = [|pool.Rent()|]) { } } }""",
            """public void A() { var one = pool.Rent(); using var two = [|pool.OpenConnection()|]; one.Dispose(); }""",
            """public void A() { using var one = pool.Rent(); for (var i = 0; i < 3; i++) { using var two = [|pool.Rent()|]; } }""",
            """public async Task A() { using var one = await pool.RentAsync(); await [|BAsync()|]; } private async Task BAsync() { using var two = await pool.RentAsync(); }""",
            """public void A(ConnectionPool other) { using var one = other.Rent(); using var two = [|other.Rent()|]; }""",
        ],
        right:
        [
            """public void A() { using (var one = pool.Rent()) { } using (var two = pool.Rent()) { } }""",
            """public void A(ConnectionPool other) { using var one = pool.Rent(); using var two = other.Rent(); }""",
            """public void A() { using var one = pool.Rent(); Register(); } private void Register() => Keep(() => pool.Rent()); private static void Keep(Func<Lease> later) { }""",
            """public void A() { using var one = pool.Rent(); if (pool.TryRent(out var two)) { two.Dispose(); } }""",
            """public void A() { var one = pool.Rent(); one.Dispose(); using var two = pool.Rent(); }""",
            """public void A() { using var one = pool.Rent(); Func<Lease> later = () => pool.Rent(); Keep(later); } private static void Keep(object o) { }""",
            """public async Task A() { using (var one = await pool.RentAsync()) { } await BAsync(); } private async Task BAsync() { using var two = await pool.RentAsync(); }""",
            """public async Task A(Store other) { using var one = await pool.RentAsync(); await other.BAsync(); } public async Task BAsync() { using var two = await pool.RentAsync(); }""",
        ]);
}
