using Microsoft.CodeAnalysis.CodeFixes;
using Microsoft.CodeAnalysis.Diagnostics;
using SafePool.Analyzers.CodeFixes;
using Xunit;

namespace SafePool.Analyzers.Tests;

/// <summary>What the fixes write.</summary>
public sealed class FixTests
{
    [Theory]
    [InlineData("var lease = await pool.RentAsync(); await UseAsync(lease.Connection);", "await using var lease = await pool.RentAsync(); await UseAsync(lease.Connection);")]
    [InlineData("var lease = pool.Rent(); await UseAsync(lease.Connection);\n        lease.Dispose();", "await using var lease = pool.Rent(); await UseAsync(lease.Connection);")]
    [InlineData("var lease = await pool.RentAsync(); await UseAsync(lease.Connection);\n        await lease.DisposeAsync();", "await using var lease = await pool.RentAsync(); await UseAsync(lease.Connection);")]
    [InlineData("_ = await pool.RentAsync();", "await using var lease = await pool.RentAsync();")]
    [InlineData("pool.Rent();", "using var lease = pool.Rent();")]
    [InlineData("Action act = () => { var lease = pool.Rent(); Console.WriteLine(lease.Id); }; act();", "Action act = () => { using var lease = pool.Rent(); Console.WriteLine(lease.Id); }; act();")]
    [InlineData("var connection = pool.Rent().Connection; await UseAsync(connection);", "var connection = pool.Rent().Connection; await UseAsync(connection);")]
    [InlineData("Action act = () => pool.Rent(); act();", "Action act = () => pool.Rent(); act();")]
    [InlineData("var task = pool.RentAsync(); Console.WriteLine(task.IsCompleted);", "var task = pool.RentAsync(); Console.WriteLine(task.IsCompleted);")]
    [InlineData("var lease = 1; Console.WriteLine(lease); pool.Rent();", "var lease = 1; Console.WriteLine(lease); pool.Rent();")]
    [InlineData("var lease = await pool.RentAsync().ConfigureAwait(false); Console.WriteLine(lease.Id);", "await using var lease = await pool.RentAsync().ConfigureAwait(false); Console.WriteLine(lease.Id);")]
    [InlineData("if (pool.TryRent(out var lease)) { Console.WriteLine(lease.Id); }", "if (pool.TryRent(out var lease)) { Console.WriteLine(lease.Id); }")]
    public Task NotReturned_IsDeclaredWithUsing(string before, string after) => IsAsync(new NotReturnedAnalyzer(), new DeclareWithUsingFix(), before, after);

    [Theory]
    [InlineData("using var lease = pool.RentAsync().Result;", "using var lease = await pool.RentAsync();")]
    [InlineData("var id = pool.RentAsync().AsTask().GetAwaiter().GetResult().Id;", "var id = (await pool.RentAsync()).Id;")]
    [InlineData("Func<Lease> rent = () => pool.RentAsync().Result;", "Func<Lease> rent = () => pool.Rent();")]
    [InlineData("Func<Lease> rent = () => pool.RentAsync(new RentOptions()).GetAwaiter().GetResult();", "Func<Lease> rent = () => pool.Rent(new RentOptions());")]
    [InlineData("var given = new RentOptions(); Func<Lease> rent = () => pool.RentAsync(given).AsTask().Result;", "var given = new RentOptions(); Func<Lease> rent = () => pool.RentAsync(given).AsTask().Result;")]
    [InlineData("Func<CancellationToken, Lease> rent = token => pool.RentAsync(token).AsTask().Result;", "Func<CancellationToken, Lease> rent = token => pool.RentAsync(token).AsTask().Result;")]
    [InlineData("Func<NpgsqlConnection> open = () => pool.OpenConnectionAsync().AsTask().Result;", "Func<NpgsqlConnection> open = () => pool.OpenConnection();")]
    public Task Blocking_BecomesAnAwaitOrASynchronousRent(string before, string after) => IsAsync(new BlockingRentAnalyzer(), new RentWithoutBlockingFix(), before, after);

    [Theory]
    [InlineData("async Task A(CancellationToken token) { using var lease = await pool.RentAsync(); }", "async Task A(CancellationToken token) { using var lease = await pool.RentAsync(token); }")]
    [InlineData("async Task A(CancellationToken token) { using var lease = await pool.RentAsync(new RentOptions()); }", "async Task A(CancellationToken token) { using var lease = await pool.RentAsync(new RentOptions(), token); }")]
    [InlineData("async Task A(CancellationToken token) { using var c = await pool.OpenConnectionAsync(); }", "async Task A(CancellationToken token) { using var c = await pool.OpenConnectionAsync(token); }")]
    [InlineData("async Task A(CancellationToken token) { using var lease = await pool.RentAsync(options: new RentOptions()); }", "async Task A(CancellationToken token) { using var lease = await pool.RentAsync(options: new RentOptions(), cancellationToken: token); }")]
    public Task Token_IsPassed(string before, string after) => IsAsync(new NoTokenAnalyzer(), new PassTokenFix(), before, after);

    [Theory]
    [InlineData("if (reader.GetInt32(0) == 7) { break; }", "if (reader.GetInt32(0) == 7) { command.Cancel(); break; }")]
    [InlineData("if (reader.GetInt32(0) == 7) break;", "if (reader.GetInt32(0) == 7) { command.Cancel(); break; }")]
    [InlineData("if (reader.GetInt32(0) == 7) { return; }", "if (reader.GetInt32(0) == 7) { command.Cancel(); return; }")]
    public Task ReaderLeftEarly_CancelsTheCommandBefore(string before, string after)
    {
        const string Loop = "await using var lease = await pool.RentAsync(); await using var command = lease.CreateCommand(); await using var reader = await command.ExecuteReaderAsync(); while (await reader.ReadAsync()) { BODY }";
        return IsAsync(
            new ReaderLeftEarlyAnalyzer(), new CancelBeforeFix(), Loop.Replace("BODY", before, StringComparison.Ordinal), Loop.Replace("BODY", after, StringComparison.Ordinal));
    }

    [Fact]
    public async Task All_OfADocument_AreFixedAtOnce()
    {
        const string Before = "var one = pool.Rent(); Console.WriteLine(one.Id); var two = pool.Rent(); Console.WriteLine(two.Id); Func<Task> f = async () => { var three = await pool.RentAsync(); Console.WriteLine(three.Id); }; await f();";
        const string After = "await using var one = pool.Rent(); Console.WriteLine(one.Id); await using var two = pool.Rent(); Console.WriteLine(two.Id); Func<Task> f = async () => { await using var three = await pool.RentAsync(); Console.WriteLine(three.Id); }; await f();";

        Assert.Equal(Verify.InMethod(After), await Fixing.AllAsync(Verify.InMethod(Before), new NotReturnedAnalyzer(), new DeclareWithUsingFix()));
    }

    [Fact]
    public async Task All_Tokens_ArePassedAtOnce()
    {
        const string Before = "async Task A(CancellationToken token) { using (await pool.RentAsync()) { } using (await pool.OpenConnectionAsync()) { } }";

        Assert.Equal(
            Verify.InMethod(Before.Replace("Async()", "Async(token)", StringComparison.Ordinal)),
            await Fixing.AllAsync(Verify.InMethod(Before), new NoTokenAnalyzer(), new PassTokenFix()));
    }

    [Fact]
    public async Task All_Blocks_AreFixedAtOnce()
        => Assert.Equal(
            Verify.InMethod("using var one = await pool.RentAsync(); using var two = await pool.RentAsync();"),
            await Fixing.AllAsync(
                Verify.InMethod("using var one = pool.RentAsync().Result; using var two = pool.RentAsync().AsTask().Result;"), new BlockingRentAnalyzer(), new RentWithoutBlockingFix()));

    private static async Task IsAsync(DiagnosticAnalyzer analyzer, CodeFixProvider fix, string before, string after)
        => Assert.Equal(Verify.InMethod(after), await Fixing.EachAsync(Verify.InMethod(before), analyzer, fix));
}
