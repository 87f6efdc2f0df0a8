using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Kit;

public sealed class EventuallyTests
{
    [Fact]
    public async Task True_ComesTrueAtTheThirdAttempt_Returns()
    {
        var attempts = 0;

        await Eventually.True(() => ++attempts == 3, "the third attempt");

        Assert.Equal(3, attempts);
    }

    [Fact]
    public async Task True_NeverComesTrue_NamesWhatWasWaitedForAndTheLastFailure()
    {
        static Task<bool> Fails() => Task.FromException<bool>(new InvalidOperationException("server down"));

        var fault = await Assert.ThrowsAsync<TimeoutException>(
            () => Eventually.True(Fails, "the server answers", TimeSpan.FromMilliseconds(30)));

        Assert.Equal("Waited 0.03 s in vain until the server answers.", fault.Message);
        Assert.Equal("server down", fault.InnerException?.Message);
    }
}
