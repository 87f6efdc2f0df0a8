namespace SafePool.Analyzers.Tests.Cases;

internal static class ReaderLeftEarlyCases
{
    public static RuleCases All { get; } = new(
        "SFP0010",
        code => $"using System.Net.Http; public class Store(IConnectionPool pool) {{ public IConnectionPool P => pool; {code} }}",
        wrong:
        [
            """public async Task<int> A() { await using var lease = await pool.RentAsync(); await using var command = lease.CreateCommand("SELECT 1"); await using var reader = await command.ExecuteReaderAsync(); while (await reader.ReadAsync()) { if (reader.GetInt32(0) == 7) { [|break;|] } } return 0; }""",
            """public async Task<int> A() { await using var lease = await pool.RentAsync(); await using var command = lease.CreateCommand("SELECT 1"); await using var reader = await command.ExecuteReaderAsync(); while (await reader.ReadAsync()) { if (reader.GetInt32(0) == 7) { [|return 7;|] } } return 0; }""",
            """public async Task<int> A() { await using var lease = await pool.RentAsync(); await using var command = lease.CreateCommand("SELECT 1"); await using var reader = await command.ExecuteReaderAsync(); while (await reader.ReadAsync().ConfigureAwait(false)) { [|return 7;|] } return 0; }""",
            """public async Task<int> A() { await using var lease = await pool.RentAsync(); await using var command = lease.CreateCommand("SELECT 1"); await using var reader = await command.ExecuteReaderAsync(); while (reader.Read()) { foreach (var x in new[] { 1 }) { if (x == 1) { [|return 1;|] } } } return 0; }""",
        ],
        right:
        [
            """public async Task<int> A() { await using var lease = await pool.RentAsync(); await using var command = lease.CreateCommand("SELECT 1"); await using var reader = await command.ExecuteReaderAsync(); while (await reader.ReadAsync()) { Console.WriteLine(reader.GetInt32(0)); } return 0; }""",
            """public async Task<int> A() { await using var lease = await pool.RentAsync(); await using var command = lease.CreateCommand("SELECT 1"); await using var reader = await command.ExecuteReaderAsync(); if (await reader.ReadAsync()) { return 7; } return 0; }""",
            """public async Task<int> A() { await using var lease = await pool.RentAsync(); await using var command = lease.CreateCommand("SELECT 1"); await using var reader = await command.ExecuteReaderAsync(); while (await reader.ReadAsync()) { command.Cancel(); break; } return 0; }""",
            """public async Task<int> A() { await using var lease = await pool.RentAsync(); await using var command = lease.CreateCommand("SELECT 1"); await using var reader = await command.ExecuteReaderAsync(); while (await reader.ReadAsync()) { if (reader.GetInt32(0) == 7) { lease.Cancel(); return 7; } } return 0; }""",
            """public async Task<int> A() { await using var lease = await pool.RentAsync(); await using var command = lease.CreateCommand("SELECT 1"); await using var reader = await command.ExecuteReaderAsync(); while (await reader.ReadAsync()) { foreach (var x in new[] { 1 }) { break; } } return 0; }""",
            """public async Task<int> A() { await using var lease = await pool.RentAsync(); await using var command = lease.CreateCommand("SELECT 1"); await using var reader = await command.ExecuteReaderAsync(System.Data.CommandBehavior.SingleRow); while (await reader.ReadAsync()) { return 7; } return 0; }""",
            """public async Task<int> A() { await using var lease = await pool.RentAsync(); await using var command = lease.CreateCommand("SELECT 1"); await using var reader = await command.ExecuteReaderAsync(); while (await reader.ReadAsync()) { Func<int> f = () => { return 1; }; f(); } return 0; }""",
        ]);
}
