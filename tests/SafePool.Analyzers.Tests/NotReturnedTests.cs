using Xunit;

namespace SafePool.Analyzers.Tests;

/// <summary>SFP0001.</summary>
public sealed class NotReturnedTests
{
    /// <summary>Leases that die, or that an exception loses.</summary>
    public static TheoryData<string> Lost { get; } =
    [
        """await [|pool.RentAsync()|];""",
        """_ = await [|pool.RentAsync()|];""",
        """var lease = await [|pool.RentAsync()|];""",
        """var lease = await [|pool.RentAsync()|]; await UseAsync(lease.Connection);""",
        """var connection = (await [|pool.RentAsync()|]).Connection; await UseAsync(connection);""",
        """await using var command = (await [|pool.RentAsync()|]).CreateCommand("SELECT 1");""",
        """var lease = await [|pool.RentAsync()|]; await UseAsync(lease.Connection); await lease.DisposeAsync();""",
        """var lease = await [|pool.RentAsync()|]; if (choice) { return; } await lease.DisposeAsync();""",
        """var lease = await [|pool.RentAsync()|]; if (choice) { await lease.DisposeAsync(); }""",
        """var lease = await [|pool.RentAsync()|]; await UseAsync(lease.Connection); await using (lease) { }""",
        """var lease = [|pool.Rent()|]; var other = lease; Console.WriteLine(other.Id);""",
        """Lease lease = default; lease = [|pool.Rent()|]; Console.WriteLine(lease.Id);""",
        """var lease = choice ? [|pool.Rent()|] : [|pool.Rent(new RentOptions())|]; Console.WriteLine(lease.Id);""",
        """[|pool.TryRent(out _)|];""",
        """if ([|pool.TryRent(out var lease)|]) { Console.WriteLine(lease.Id); }""",
        """if (![|pool.TryRent(out var lease)|]) { return; } await UseAsync(lease.Connection); lease.Dispose();""",
        """var connection = await [|pool.OpenConnectionAsync()|]; await UseAsync(new NpgsqlConnection()); await connection.CloseAsync();""",
        """var connection = [|pool.OpenConnection()|]; using var command = connection.CreateCommand(); command.ExecuteNonQuery();""",
        """for (var i = 0; i < 3; i++) { var lease = await [|pool.RentAsync()|]; Console.WriteLine(lease.Id); }""",
        """var lease = await [|pool.RentAsync()|].ConfigureAwait(false);""",
        """Func<Task> later = async () => { var lease = await [|pool.RentAsync()|]; Console.WriteLine(lease.Id); }; await later();""",
        """try { var lease = await [|pool.RentAsync()|]; await UseAsync(lease.Connection); lease.Dispose(); } catch (PoolExhaustedException) { }""",
        """async Task<Lease> RentOneAsync() => await pool.RentAsync(); await [|RentOneAsync()|];""",
        """async Task<Lease> RentOneAsync() => await pool.RentAsync(); var lease = await [|RentOneAsync()|]; await UseAsync(lease.Connection);""",
        """void Make(out Lease made) => made = pool.Rent(); [|Make(out var lease)|]; Console.WriteLine(lease.Id);""",
        """var (one, two) = ([|pool.Rent()|], await [|pool.RentAsync()|]); Console.WriteLine(one.Id + two.Id);""",
        """switch (choice) { case true: var lease = [|pool.Rent()|]; await UseAsync(lease.Connection); lease.Dispose(); break; }""",
        """Action act = () => [|pool.Rent()|]; act();""",
        """var (one, _) = (pool.Rent(), [|pool.Rent()|]); one.Dispose();""",
    ];

    /// <summary>Leases that come back, or of which somebody else may see to that.</summary>
    public static TheoryData<string> Fine { get; } =
    [
        """await using var lease = await pool.RentAsync();""",
        """using var lease = await pool.RentAsync(); await UseAsync(lease.Connection);""",
        """using (var lease = pool.Rent()) { await UseAsync(lease.Connection); }""",
        """using (pool.Rent()) { }""",
        """await using var lease = (await pool.RentAsync().ConfigureAwait(false)); await UseAsync(lease.Connection);""",
        """var lease = await pool.RentAsync(); await using (lease.ConfigureAwait(false)) { await UseAsync(lease.Connection); }""",
        """var lease = await pool.RentAsync(); await using var _ = lease.ConfigureAwait(false); await UseAsync(lease.Connection);""",
        """var lease = await pool.RentAsync(); try { await UseAsync(lease.Connection); } finally { await lease.DisposeAsync(); }""",
        """Lease lease = default; try { lease = await pool.RentAsync(); await UseAsync(lease.Connection); } finally { lease.Dispose(); }""",
        """var lease = pool.Rent(); lease.Dispose();""",
        """var lease = pool.Rent(); if (choice) { lease.Dispose(); } else { lease.Dispose(); }""",
        """Own(await pool.RentAsync());""",
        """var lease = await pool.RentAsync(); Keep(lease);""",
        """_field = await pool.RentAsync();""",
        """list.Add(await pool.RentAsync());""",
        """var leases = new[] { await pool.RentAsync(), await pool.RentAsync() }; foreach (var lease in leases) { lease.Dispose(); }""",
        """var lease = await pool.RentAsync(); using var owned = lease; await UseAsync(lease.Connection);""",
        """if (pool.TryRent(out var lease)) { using (lease) { await UseAsync(lease.Connection); } }""",
        """if (!pool.TryRent(out var lease)) { return; } using var owned = lease; await UseAsync(lease.Connection);""",
        """if (!pool.TryRent(out var lease)) { throw new TimeoutException(); } try { await UseAsync(lease.Connection); } finally { lease.Dispose(); }""",
        """await using var connection = await pool.OpenConnectionAsync(); await UseAsync(connection);""",
        """var connection = pool.OpenConnection(); try { await UseAsync(connection); } finally { connection.Close(); }""",
        """await using var lease = choice ? await pool.RentAsync() : await pool.RentAsync(new RentOptions());""",
        """async Task<Lease> MakeAsync() => await pool.RentAsync(); await using var made = await MakeAsync();""",
        """ValueTask<Lease> Make() => pool.RentAsync(); await using var made = await Make();""",
        """var renting = pool.RentAsync(); await using var lease = await renting;""",
        """var lease = await pool.RentAsync(); Action giveBack = () => lease.Dispose(); giveBack();""",
        """var (one, two) = (await pool.RentAsync(), await pool.RentAsync()); using (one) { using (two) { } }""",
        """switch (choice) { case true: var lease = pool.Rent(); using (lease) { await UseAsync(lease.Connection); } break; }""",
        """switch (choice) { case true: { using var lease = pool.Rent(); await UseAsync(lease.Connection); break; } }""",
        """lock (list) { var lease = pool.Rent(); using (lease) { Console.WriteLine(lease.Id); } }""",
        """Func<Lease> make = () => pool.Rent(); using var lease = make();""",
        """Lease Current() => _field; var lease = Current(); Console.WriteLine(lease.Id);""",
        """async Task<Lease> RentOneAsync() => await pool.RentAsync(); await using var lease = await RentOneAsync();""",
        """void Make(out Lease made) => made = pool.Rent(); Make(out var lease); using (lease) { }""",
        """Lease one, two; (one, two) = (pool.Rent(), pool.Rent()); Keep(one); Keep(two);""",
        """using var one = pool.Rent(); using var two = pool.Rent();""",
        """var pool2 = new NpgsqlConnection(); pool2.Open();""",
        """Lease held = pool.Rent(); { using (held) { Console.WriteLine(held.Id); } }""",
    ];

    [Theory]
    [MemberData(nameof(Lost))]
    public Task Lease_ThatIsLost_IsReported(string statements)
    {
        Assert.Contains("[|", statements, StringComparison.Ordinal);
        return Verify.StatementsAsync<NotReturnedAnalyzer>(statements);
    }

    [Theory]
    [MemberData(nameof(Fine))]
    public Task Lease_ThatComesBackOrIsAnothers_IsNotReported(string statements) => Verify.StatementsAsync<NotReturnedAnalyzer>(statements);

    [Fact]
    public async Task Report_OfALeaseThatAnExceptionLoses_SaysSo()
    {
        var said = await Verify.CodeAsync<NotReturnedAnalyzer>(Verify.InMethod(
            "var lease = await [|pool.RentAsync()|]; await UseAsync(lease.Connection); await lease.DisposeAsync();"));

        Assert.Equal(
            "This lease is not returned: 'lease' is lost when something throws or returns before it is disposed. Declare it with 'using'.",
            Assert.Single(said).GetMessage(null));
    }
}
