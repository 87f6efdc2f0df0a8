using SafePool.TestKit;

namespace SafePool.LoadTests.Scenarios;

/// <summary>The server is stopped and started at once, as <c>pg_ctl restart -m</c> does.</summary>
internal sealed class Restart(StopMode mode) : Scenario
{
    public override string Id => mode == StopMode.Fast ? "restart-fast" : "restart-immediate";

    public override string Title => mode == StopMode.Fast ? "restart -m fast" : "restart -m immediate";

    public override async Task<Fault> StrikeAsync(Stage stage)
    {
        var down = Clock.Now;
        await stage.Server.RestartAsync(mode);
        return new Fault(down, Clock.Now);
    }

    public override IEnumerable<string> Broken(Outcome outcome) => Promises.RidesThrough(outcome);
}
