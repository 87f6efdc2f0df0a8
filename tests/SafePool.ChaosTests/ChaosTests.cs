using Xunit;

namespace SafePool.ChaosTests;

public sealed class ChaosTests(ITestOutputHelper output)
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task RandomFaults_UnderLoad_BreakNoPromise()
    {
        await using var landscape = await Landscape.CreateAsync(startMiddleman: null, Cancellation);
        await using var run = new ChaosRun(landscape, Chaos.Seed, output.WriteLine);

        var failure = await run.RunAsync(Chaos.Duration);

        Assert.True(failure is null, failure);
    }
}
