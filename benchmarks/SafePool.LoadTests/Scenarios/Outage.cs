namespace SafePool.LoadTests.Scenarios;

/// <summary>The server is down for ten seconds.</summary>
internal sealed class Outage : Scenario
{
    private static readonly TimeSpan _length = TimeSpan.FromSeconds(10);

    public override string Id => "outage";

    public override string Title => $"{_length.TotalSeconds:0} s outage";

    public override async Task<Fault> StrikeAsync(Stage stage)
    {
        var down = Clock.Now;
        await stage.Server.StopAsync();
        await Clock.DelayUntilAsync(Clock.After(down, _length));
        await stage.Server.StartAgainAsync();
        return new Fault(down, Clock.Now);
    }

    public override IEnumerable<string> Broken(Outcome outcome) => Promises.FailsFast(outcome);
}
