using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Poolers;

public sealed class PoolerKitTests
{
    [Fact]
    public void Find_AProgramThatIsMissing_SaysWhatToInstall()
    {
        var error = Assert.Throws<InvalidOperationException>(() => Programs.Find("no-such-pooler"));

        Assert.Contains("no-such-pooler", error.Message, StringComparison.Ordinal);
        Assert.Contains("pgbouncer and pgpool2", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task CommandAsync_RefusedByTheConsole_ThrowsWhatItSays()
    {
        await using var gateway = await Gateway.BouncerAsync(PoolMode.Session);

        var refused = await Assert.ThrowsAsync<InvalidOperationException>(() => gateway.Bouncer!.CommandAsync("JUMP", TestContext.Current.CancellationToken));

        Assert.Contains("invalid command", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Find_APoolerThatRunsInADirectory_IsFoundUntilItHasEnded()
    {
        var run = await RunDirectory.CurrentAsync();
        var directory = await run.CreateDirectoryAsync("sleeper", TestContext.Current.CancellationToken);
        await using var process = new PoolerProcess(directory, _ => ["/bin/sh", "-c", "echo ready; exec sleep 60"], _ => "ready", Signals.Kill);
        await process.StartAsync(TestContext.Current.CancellationToken);

        Assert.Equal(process.Id, PoolerProcess.Find(directory));
        await process.StopAsync();
        Assert.Null(PoolerProcess.Find(directory));
    }
}
