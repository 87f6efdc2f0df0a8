using System.Text.RegularExpressions;
using Npgsql;
using SafePool.TestKit;
using Xunit;

namespace SafePool.PackageTests;

/// <summary>The first lines of the README, in a new project with the package: they are a program, and it works. Only the server's address is another.</summary>
public sealed class ReadmeProjectTests(Feed feed)
{
    private const string Address = "Host=localhost;Database=orders;Username=app";

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task QuickStart_OfTheReadme_CountsOrders()
    {
        await using var database = await TestDatabase.AcquireAsync(Cancellation);
        var readme = await File.ReadAllTextAsync(SourceCopy.Beside("../../README.md"), Cancellation);
        var program = Regex.Match(readme, "```csharp\n(?<code>.*?)```", RegexOptions.Singleline).Groups["code"].Value;
        Assert.Contains(Address, program, StringComparison.Ordinal);
        var consumer = await feed.CreateConsumerAsync("Readme");
        await consumer.WriteAsync("Program.cs", program.Replace(Address, database.ConnectionString, StringComparison.Ordinal));
        await consumer.PublishAsync();
        await using var server = NpgsqlDataSource.Create(database.ConnectionString);
        await using var create = server.CreateCommand("DROP TABLE IF EXISTS orders; CREATE TABLE orders AS SELECT generate_series(1, 3) AS id");
        await create.ExecuteNonQueryAsync(Cancellation);

        var said = await Shell.RunAsync(consumer.Program());

        Assert.Equal("3", said.Trim());
    }
}
