using SafePool.TestKit;
using Xunit;

namespace SafePool.PackageTests;

/// <summary>A new project with EF Core that has nothing but the package for it: it restores, builds without a warning, and works on a server.</summary>
public sealed class ContextProjectTests(Feed feed)
{
    [Fact]
    public async Task ContextProject_Works()
    {
        await using var database = await TestDatabase.AcquireAsync(TestContext.Current.CancellationToken);
        var consumer = await feed.CreateConsumerAsync("Context");
        await consumer.PublishAsync();

        var said = await Shell.RunAsync(consumer.Program(database.ConnectionString));

        Assert.Equal(["notes: 2", "rents: 4, leased: 0"], said.Split('\n', StringSplitOptions.RemoveEmptyEntries));
    }
}
