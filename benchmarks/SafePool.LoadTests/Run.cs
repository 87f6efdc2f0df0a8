using SafePool.LoadTests.Contenders;
using SafePool.LoadTests.Scenarios;
using SafePool.TestKit;

namespace SafePool.LoadTests;

/// <summary>One contender in one scenario: filled, steady, struck, and watched for a while.</summary>
internal static class Run
{
    public static async Task<Outcome> PlayAsync(PostgresServer server, Scenario scenario, Entry entry, TimeSpan aftermath)
    {
        await using var stage = await scenario.SetAsync(server);
        await using var contender = entry.Create(stage.ConnectionString);
        await Workload.WarmUpAsync(contender);

        using var stop = new CancellationTokenSource();
        var load = Load.RunAsync(contender, stop.Token);
        Fault fault;
        try
        {
            await Task.Delay(Workload.Steady, TimeProvider.System);
            fault = await scenario.StrikeAsync(stage);
            await Task.Delay(aftermath, TimeProvider.System);
        }
        finally
        {
            await stop.CancelAsync();
        }

        var requests = await load;
        return new Outcome(scenario, entry, requests, stage.ConnectionAttempts(), fault, Clock.Now);
    }
}
