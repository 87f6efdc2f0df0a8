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
    [MemberData(nameof(Modes))]
    public Task RandomFaults_BehindPgBouncer_BreakNoPromise(PoolMode mode)
        => RunAsync(server => PgBouncerMiddleman.StartAsync(server, mode), Chaos.Duration * 0.2);

    /// <summary>By transaction only PgBouncer 1.24 holds: 1.18 hands answers to the wrong client once a connection has broken (see docs/chaos.md), which no pool before it can help.</summary>
    public static TheoryData<PoolMode> Modes() => PgBouncerOptions.Has124 ? [PoolMode.Session, PoolMode.Transaction] : [PoolMode.Session];

    private async Task RunAsync(Func<PostgresServer, Task<IMiddleman>>? startMiddleman, TimeSpan duration)
    {
        await using var landscape = await Landscape.CreateAsync(startMiddleman, Cancellation);
        await using var run = new ChaosRun(landscape, Chaos.Seed, output.WriteLine);

        var failure = await run.RunAsync(duration);

        Assert.True(failure is null, failure);
    }
}
