using Microsoft.Extensions.Logging;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Kit;

public sealed class LogCollectorTests : IDisposable
{
    private readonly LogCollector _log = new();

    public void Dispose() => _log.Dispose();

    [Fact]
    public void Entries_AfterAMessageWithValues_KeepTextAndValues()
    {
        var fault = new InvalidOperationException("no");

        _log.CreateLogger("Pool").LogWarning(new EventId(7, "LeakFound"), fault, "Lease {LeaseId} is late", 42);

        var entry = Assert.Single(_log.Entries);
        Assert.Equal(("Pool", LogLevel.Warning, 7, "Lease 42 is late"), (entry.Category, entry.Level, entry.EventId.Id, entry.Message));
        Assert.Same(fault, entry.Exception);
        Assert.Equal(42, entry.State["LeaseId"]);
    }

    [Fact]
    public async Task WaitForAsync_LineComesLater_ReturnsIt()
    {
        var waiting = _log.WaitForAsync(entry => entry.Message == "second");
        var logger = _log.CreateLogger("Pool");

        logger.LogInformation("first");
        Assert.False(waiting.IsCompleted);
        logger.LogInformation("second");

        Assert.Equal("second", (await waiting).Message);
    }

    [Fact]
    public async Task WaitForAsync_NoSuchLine_NamesTheLinesThatCame()
    {
        _log.CreateLogger("Pool").LogInformation("another line");

        var fault = await Assert.ThrowsAsync<TimeoutException>(() => _log.WaitForAsync(_ => false, TimeSpan.FromMilliseconds(20)));

        Assert.Contains("another line", fault.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Log_ThrowOnLog_ThrowsAndKeepsTheLine()
    {
        _log.ThrowOnLog = true;

        Assert.Throws<InvalidOperationException>(() => _log.CreateLogger("Pool").LogInformation("kept"));

        Assert.Equal("kept", Assert.Single(_log.Entries).Message);
    }
}
