namespace SafePool.Analyzers.Tests.Cases;

internal static class UsedAfterReturnCases
{
    public static RuleCases All { get; } = new(
        "SFP0002",
        code => $"using System.Net.Http; public class Store(IConnectionPool pool) {{ public IConnectionPool P => pool; {code} }}",
        wrong:
        [
            """public Lease A() { using var lease = pool.Rent(); return [|lease|]; }""",
            """public NpgsqlConnection A() { using var lease = pool.Rent(); return [|lease.Connection|]; }""",
            """public NpgsqlConnection A() { using (var lease = pool.Rent()) { return [|lease.Connection|]; } }""",
            """public NpgsqlCommand A() { using var lease = pool.Rent(); var command = lease.CreateCommand("x"); return [|command|]; }""",
            """public async Task<NpgsqlDataReader> A() { await using var lease = await pool.RentAsync(); var command = lease.CreateCommand("x"); return [|await command.ExecuteReaderAsync()|]; }""",
            """public Task<object?> A() { using var lease = pool.Rent(); using var command = lease.CreateCommand("x"); return [|command.ExecuteScalarAsync()|]; }""",
            """private NpgsqlConnection? _c; public void A() { using var lease = pool.Rent(); _c = [|lease.Connection|]; } public object? C => _c;""",
            """private Lease _l; public void A() { using var lease = pool.Rent(); _l = [|lease|]; } public Lease L => _l;""",
            """public IEnumerable<NpgsqlConnection> A() { using var lease = pool.Rent(); yield return [|lease.Connection|]; }""",
            """public Func<long> A() { using var lease = pool.Rent(); return () => [|lease|].Id; }""",
            """public event Action? E; public void A() { using var lease = pool.Rent(); E += () => [|lease|].Cancel(); } public void B() => E?.Invoke();""",
            """public void A() { using var lease = pool.Rent(); Task.Run(() => [|lease|].Cancel()); }""",
            """public void A() { using var lease = pool.Rent(); _ = Task.Run(() => [|lease|].Cancel()); }""",
            """public void A() { using var lease = pool.Rent(); ThreadPool.QueueUserWorkItem(_ => [|lease|].Cancel()); }""",
            """public void A() { var lease = pool.Rent(); lease.Dispose(); [|lease|].CreateCommand("x"); }""",
            """public async Task A() { var lease = await pool.RentAsync(); await lease.DisposeAsync(); Console.WriteLine([|lease|].Connection); }""",
            """public async Task<NpgsqlConnection> A() { await using var connection = await pool.OpenConnectionAsync(); return [|connection|]; }""",
        ],
        right:
        [
            """public long A() { using var lease = pool.Rent(); return lease.Id; }""",
            """public async Task<object?> A() { await using var lease = await pool.RentAsync(); await using var command = lease.CreateCommand("x"); return await command.ExecuteScalarAsync(); }""",
            """public Lease A() { var lease = pool.Rent(); return lease; }""",
            """public async Task<Lease> A() => await pool.RentAsync();""",
            """public async Task A() { using var lease = pool.Rent(); await Task.Run(() => lease.Cancel()); }""",
            """public void A() { using var lease = pool.Rent(); Action act = () => lease.Cancel(); act(); }""",
            """public void A() { using var lease = pool.Rent(); var text = lease.CreateCommand("x").CommandText; Text = text; } public string Text { get; set; } = "";""",
            """public IEnumerable<long> A() { using var lease = pool.Rent(); yield return lease.Id; }""",
            """public void A() { var lease = pool.Rent(); lease.Dispose(); Console.WriteLine(lease.Id); }""",
            """public void A() { var lease = pool.Rent(); lease.Dispose(); lease = pool.Rent(); lease.Cancel(); lease.Dispose(); }""",
            """public void A(bool b) { var lease = pool.Rent(); if (b) { lease.Dispose(); return; } lease.Cancel(); lease.Dispose(); }""",
            """public void A() { using var lease = pool.Rent(); new List<int> { 1 }.ForEach(_ => lease.Cancel()); }""",
            """public async Task<List<long>> A() { await using var lease = await pool.RentAsync(); return new List<long> { lease.Id }; }""",
        ]);
}
