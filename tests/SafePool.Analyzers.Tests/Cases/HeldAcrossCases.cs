namespace SafePool.Analyzers.Tests.Cases;

internal static class HeldAcrossCases
{
    public static RuleCases All { get; } = new(
        "SFP0005",
        code => $"using System.Net.Http; public class Store(IConnectionPool pool) {{ public IConnectionPool P => pool; {code} }}",
        wrong:
        [
            """public async Task A(HttpClient http) { using var lease = await pool.RentAsync(); await [|http.GetStringAsync("http://x")|]; }""",
            """public async Task A() { using var lease = await pool.RentAsync(); await [|Task.Delay(100)|]; }""",
            """public async Task A(SemaphoreSlim gate) { using (var lease = await pool.RentAsync()) { await [|gate.WaitAsync()|].ConfigureAwait(false); } }""",
            """public async Task A(System.Threading.Channels.ChannelReader<int> reader) { await using var lease = await pool.RentAsync(); await [|reader.ReadAsync()|]; }""",
            """public async Task A(HttpClient http) { await using var c = await pool.OpenConnectionAsync(); var response = await [|http.GetAsync("http://x")|]; }""",
        ],
        right:
        [
            """public async Task A(HttpClient http) { await http.GetStringAsync("http://x"); using var lease = await pool.RentAsync(); }""",
            """public async Task A() { using (var lease = await pool.RentAsync()) { } await Task.Delay(100); }""",
            """public async Task A() { using var lease = await pool.RentAsync(); using var command = lease.CreateCommand("x"); await command.ExecuteNonQueryAsync(); }""",
            """public async Task A() { using var lease = await pool.RentAsync(); await using var transaction = await lease.BeginTransactionAsync(); await transaction.CommitAsync(); }""",
            """public async Task A() { using var lease = await pool.RentAsync(); Func<Task> later = () => Task.Delay(1); Keep(later); } private static void Keep(object o) { }""",
            """public async Task A() { var lease = await pool.RentAsync(); await lease.DisposeAsync(); await Task.Delay(1); }""",
            """public async Task A() { using var lease = await pool.RentAsync(); await OwnAsync(); } private static Task OwnAsync() => Task.CompletedTask;""",
        ]);
}
