namespace SafePool.Analyzers.Tests.Cases;

internal static class RetryAtOnceCases
{
    public static RuleCases All { get; } = new(
        "SFP0009",
        code => $"using System.Net.Http; public class Store(IConnectionPool pool) {{ public IConnectionPool P => pool; {code} }}",
        wrong:
        [
            """public async Task A() { while (true) { try { using var lease = await pool.RentAsync(); return; } catch [|(PoolExhaustedException)|] { } } }""",
            """public void A() { for (var i = 0; i < 3; i++) { try { using var lease = pool.Rent(); return; } catch [|(PoolExhaustedException e)|] { Console.WriteLine(e); } } }""",
            """public async Task A() { do { try { using var lease = await pool.RentAsync(); return; } catch [|(PoolException)|] { continue; } } while (true); }""",
        ],
        right:
        [
            """public async Task A() { while (true) { try { using var lease = await pool.RentAsync(); return; } catch (PoolExhaustedException e) { await Task.Delay(e.RetryAfter ?? TimeSpan.FromSeconds(1)); } } }""",
            """public async Task A() { while (true) { try { using var lease = await pool.RentAsync(); return; } catch (PoolExhaustedException) { throw; } } }""",
            """public async Task A() { while (true) { try { using var lease = await pool.RentAsync(); return; } catch (PoolExhaustedException) { return; } } }""",
            """public async Task A() { while (true) { try { using var lease = await pool.RentAsync(); return; } catch (PoolExhaustedException) { break; } } }""",
            """public async Task A() { try { using var lease = await pool.RentAsync(); } catch (PoolExhaustedException) { } }""",
            """public async Task A(int[] ids) { foreach (var id in ids) { try { using var lease = await pool.RentAsync(); } catch (PoolExhaustedException) { Console.WriteLine(id); } } }""",
            """public async Task A(PeriodicTimer timer) { while (await timer.WaitForNextTickAsync()) { await BAsync(); } } private async Task BAsync() { try { using var lease = await pool.RentAsync(); } catch (PoolExhaustedException) { } }""",
            """public async Task A() { while (true) { try { await Task.Yield(); } catch (PoolExhaustedException) { } } }""",
        ]);
}
