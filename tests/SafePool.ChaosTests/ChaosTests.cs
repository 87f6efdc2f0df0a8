using SafePool.TestKit;
using Xunit;

namespace SafePool.ChaosTests;

public sealed class ChaosTests(ITestOutputHelper output)
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public Task RandomFaults_UnderLoad_BreakNoPromise() => RunAsync(startMiddleman: null, Chaos.Duration * 0.6);

    /// <summary>The same behind PgBouncer, which restarts and pauses as well. A fifth of the time each: most of what can go wrong is the same.</summary>
    [Theory]
    [InlineData(PoolMode.Session)]
    [InlineData(PoolMode.Transaction)]
    public Task RandomFaults_BehindPgBouncer_BreakNoPromise(PoolMode mode)
        => RunAsync(server => PgBouncerMiddleman.StartAsync(server, mode), Chaos.Duration * 0.2);

    private async Task RunAsync(Func<PostgresServer, Task<IMiddleman>>? startMiddleman, TimeSpan duration)
    {
        await using var landscape = await Landscape.CreateAsync(startMiddleman, Cancellation);
        await using var run = new ChaosRun(landscape, Chaos.Seed, output.WriteLine);

        var failure = await run.RunAsync(duration);

        Assert.True(failure is null, failure);
    }
}
