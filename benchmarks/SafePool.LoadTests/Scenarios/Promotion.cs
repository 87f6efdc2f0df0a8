using SafePool.LoadTests.Contenders;
using SafePool.TestKit;

namespace SafePool.LoadTests.Scenarios;

/// <summary>The primary is killed; whoever watches it needs a second to see that, and promotes the standby.</summary>
internal sealed class Promotion : Scenario
{
    private static readonly TimeSpan _detection = TimeSpan.FromSeconds(1);

    public override string Id => "promotion";

    public override string Title => "primary killed, standby promoted";

    public override IReadOnlyList<Entry> Entries => [Entry.RawNpgsql, Entry.RawNpgsqlWithoutHostCache, Entry.SafePool];

    public override Task<Stage> SetAsync(PostgresServer server) => Stage.OfPairAsync();

    public override async Task<Fault> StrikeAsync(Stage stage)
    {
        var down = Clock.Now;
        await stage.Server.StopAsync(StopMode.Kill);
        await Clock.DelayUntilAsync(Clock.After(down, _detection));
        await stage.Standby!.PromoteAsync();
        return new Fault(down, Clock.Now);
    }

    public override IEnumerable<string> Broken(Outcome outcome) => Promises.FollowsThePromotion(outcome);
}
