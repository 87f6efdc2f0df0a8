namespace SafePool.LoadTests.Scenarios;

/// <summary>For five seconds the network swallows everything, without a word to either end.</summary>
internal sealed class Blackhole : Scenario
{
    private static readonly TimeSpan _length = TimeSpan.FromSeconds(5);

    public override string Id => "blackhole";

    public override string Title => $"packets swallowed for {_length.TotalSeconds:0} s";

    public override async Task<Fault> StrikeAsync(Stage stage)
    {
        var down = Clock.Now;
        stage.Proxies[0].Stall();
        await Clock.DelayUntilAsync(Clock.After(down, _length));
        stage.Proxies[0].Resume();
        return new Fault(down, Clock.Now);
    }
}
