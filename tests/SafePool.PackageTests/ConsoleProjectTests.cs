using SafePool.TestKit;
using Xunit;

namespace SafePool.PackageTests;

/// <summary>A new console project that has nothing but the package: it restores, builds with trimming and without a warning, and works on a server.</summary>
public sealed class ConsoleProjectTests(Feed feed)
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task ConsoleProject_Trimmed_Works()
    {
        await using var database = await TestDatabase.AcquireAsync(Cancellation);
        var consumer = await feed.CreateConsumerAsync("Console");
        await consumer.PublishAsync();

        var said = await Shell.RunAsync(consumer.Program(database.ConnectionString));

        Assert.Equal(
            ["timeout: 5s!", "exhausted: 2 holders", "server: 2 of this pool", "recorded: True", "drained: True"],
            said.Split('\n', StringSplitOptions.RemoveEmptyEntries));

        // The library says of itself that it may be trimmed; otherwise it would have been taken over whole, and without a warning.
        using var package = feed.Open("SafePool");
        Assert.InRange(consumer.SizeOf("SafePool.dll"), 1, package.Read("lib/net10.0/SafePool.dll").Length * 9 / 10);
    }
}
