using Xunit;

namespace SafePool.PackageTests;

/// <summary>A new project that forgets a lease: the compiler refuses it, though it references the pool only through another package; put right by the rule's own fix, it builds.</summary>
public sealed class LeakyProjectTests(Feed feed)
{
    private const string Leaky = """
        using SafePool;

        internal static class Program
        {
            private static async Task Main()
            {
                await using var pool = ConnectionPool.Create("Host=localhost");
                if (pool.GetSnapshot().Leased > 0)
                {
                    var lease = await pool.RentAsync();
                    Console.WriteLine(lease.Id);
                }

                Console.WriteLine("built");
            }
        }
        """;

    [Fact]
    public async Task LeakyProject_DoesNotCompile_AndDoesOnceItsFixWasApplied()
    {
        var consumer = await feed.CreateConsumerAsync("Leaky");
        await consumer.WriteAsync("Program.cs", Leaky);

        var refused = await Assert.ThrowsAsync<InvalidOperationException>(consumer.PublishAsync);
        Assert.Contains("Program.cs(10,31): error SFP0001: This lease is not returned: nothing disposes 'lease'. Declare it with 'using'.", refused.Message, StringComparison.Ordinal);

        await consumer.FixAsync("SFP0001");

        Assert.Equal(Leaky.Replace("var lease", "await using var lease", StringComparison.Ordinal), await consumer.ReadAsync("Program.cs"));
        await consumer.PublishAsync();
        Assert.Equal("built", (await Shell.RunAsync(consumer.Program())).Trim());
    }

    [Fact]
    public void Package_HasTheRulesAndTheirFixes()
    {
        using var package = feed.Open("SafePool");

        Assert.Equal(
            ["analyzers/dotnet/cs/SafePool.Analyzers.CodeFixes.dll", "analyzers/dotnet/cs/SafePool.Analyzers.dll"],
            package.Files.Where(file => file.StartsWith("analyzers/", StringComparison.Ordinal)).Order(StringComparer.Ordinal));
    }
}
