using Xunit;

namespace SafePool.Analyzers.Tests;

/// <summary>SFP0004.</summary>
public sealed class NestedRentTests
{
    public static TheoryData<string> Wrong { get; } =
    [
        """public async Task A() { using var one = await pool.RentAsync(); using var two = await [|pool.RentAsync()|]; }""",
        """public void A() { using (var one = pool.Rent()) { using (var two = [|pool.Rent()|]) { } } }""",
        """public void A() { var one = pool.Rent(); using var two = [|pool.OpenConnection()|]; one.Dispose(); }""",
        """public void A() { using var one = pool.Rent(); for (var i = 0; i < 3; i++) { using var two = [|pool.Rent()|]; } }""",
        """public async Task A() { using var one = await pool.RentAsync(); await [|BAsync()|]; } private async Task BAsync() { using var two = await pool.RentAsync(); }""",
        """public void A(ConnectionPool other) { using var one = other.Rent(); using var two = [|other.Rent()|]; }""",
    ];

    public static TheoryData<string> Right { get; } =
    [
        """public void A() { using (var one = pool.Rent()) { } using (var two = pool.Rent()) { } }""",
        """public void A(ConnectionPool other) { using var one = pool.Rent(); using var two = other.Rent(); }""",
        """public void A() { using var one = pool.Rent(); Register(); } private void Register() => Keep(() => pool.Rent()); private static void Keep(Func<Lease> later) { }""",
        """public void A() { using var one = pool.Rent(); if (pool.TryRent(out var two)) { two.Dispose(); } }""",
        """public void A() { var one = pool.Rent(); one.Dispose(); using var two = pool.Rent(); }""",
        """public void A() { using var one = pool.Rent(); Func<Lease> later = () => pool.Rent(); Keep(later); } private static void Keep(object o) { }""",
        """public async Task A() { using (var one = await pool.RentAsync()) { } await BAsync(); } private async Task BAsync() { using var two = await pool.RentAsync(); }""",
        """public async Task A(Store other) { using var one = await pool.RentAsync(); await other.BAsync(); } public async Task BAsync() { using var two = await pool.RentAsync(); }""",
    ];

    [Theory]
    [MemberData(nameof(Wrong))]
    public Task Code_ThatIsWrong_IsReported(string code)
    {
        Assert.Contains("[|", code, StringComparison.Ordinal);
        return Verify.CodeAsync<NestedRentAnalyzer>($"using System.Net.Http; public class Store(IConnectionPool given) {{ private readonly IConnectionPool pool = given; {code} }}");
    }

    [Theory]
    [MemberData(nameof(Right))]
    public Task Code_ThatIsRight_IsNotReported(string code)
    {
        Assert.DoesNotContain("[|", code, StringComparison.Ordinal);
        return Verify.CodeAsync<NestedRentAnalyzer>($"using System.Net.Http; public class Store(IConnectionPool given) {{ private readonly IConnectionPool pool = given; {code} }}");
    }
}
