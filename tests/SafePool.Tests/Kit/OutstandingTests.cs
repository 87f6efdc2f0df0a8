using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Kit;

public sealed class OutstandingTests
{
    [Fact]
    public async Task NoneAsync_ALeaseIsOut_NamesWhereItWasRented()
    {
        await using var scripted = ScriptedPool.Create();
        await using var lease = await scripted.BeginRent();

        var error = await Assert.ThrowsAsync<InvalidOperationException>(
            () => Outstanding.NoneAsync(scripted.Pool, TimeSpan.FromMilliseconds(50)));

        Assert.Contains("1 leased", error.Message, StringComparison.Ordinal);
        Assert.Contains($"{nameof(ScriptedPool)}.cs", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task NoneAsync_AllIsBack_SaysNothing()
    {
        await using var scripted = ScriptedPool.Create();
        await scripted.FillAsync(2);

        await Outstanding.NoneAsync(scripted.Pool);
    }
}
