using Xunit;

namespace SafePool.Analyzers.Tests;

/// <summary>SFP0009.</summary>
public sealed class RetryAtOnceTests
{
    public static TheoryData<string> Wrong { get; } =
    [
        """public async Task A() { while (true) { try { using var lease = await pool.RentAsync(); return; } catch [|(PoolExhaustedException)|] { } } }""",
        """public void A() { for (var i = 0; i < 3; i++) { try { using var lease = pool.Rent(); return; } catch [|(PoolExhaustedException e)|] { Console.WriteLine(e); } } }""",
        """public async Task A() { do { try { using var lease = await pool.RentAsync(); return; } catch [|(PoolException)|] { continue; } } while (true); }""",
    ];

    public static TheoryData<string> Right { get; } =
    [
        """public async Task A() { while (true) { try { using var lease = await pool.RentAsync(); return; } catch (PoolExhaustedException e) { await Task.Delay(e.RetryAfter ?? TimeSpan.FromSeconds(1)); } } }""",
        """public async Task A() { while (true) { try { using var lease = await pool.RentAsync(); return; } catch (PoolExhaustedException) { throw; } } }""",
        """public async Task A() { while (true) { try { using var lease = await pool.RentAsync(); return; } catch (PoolExhaustedException) { return; } } }""",
        """public async Task A() { while (true) { try { using var lease = await pool.RentAsync(); return; } catch (PoolExhaustedException) { break; } } }""",
        """public async Task A() { try { using var lease = await pool.RentAsync(); } catch (PoolExhaustedException) { } }""",
        """public async Task A(int[] ids) { foreach (var id in ids) { try { using var lease = await pool.RentAsync(); } catch (PoolExhaustedException) { Console.WriteLine(id); } } }""",
        """public async Task A(PeriodicTimer timer) { while (await timer.WaitForNextTickAsync()) { await BAsync(); } } private async Task BAsync() { try { using var lease = await pool.RentAsync(); } catch (PoolExhaustedException) { } }""",
        """public async Task A() { while (true) { try { await Task.Yield(); } catch (PoolExhaustedException) { } } }""",
    ];

    [Theory]
    [MemberData(nameof(Wrong))]
    public Task Code_ThatIsWrong_IsReported(string code)
    {
        Assert.Contains("[|", code, StringComparison.Ordinal);
        return Verify.CodeAsync<RetryAtOnceAnalyzer>($"using System.Net.Http; public class Store(IConnectionPool pool) {{ public IConnectionPool P => pool; {code} }}");
    }

    [Theory]
    [MemberData(nameof(Right))]
    public Task Code_ThatIsRight_IsNotReported(string code)
    {
        Assert.DoesNotContain("[|", code, StringComparison.Ordinal);
        return Verify.CodeAsync<RetryAtOnceAnalyzer>($"using System.Net.Http; public class Store(IConnectionPool pool) {{ public IConnectionPool P => pool; {code} }}");
    }
}
