using SafePool.Samples.Exhaustion.Sides;

namespace SafePool.Samples.Exhaustion;

/// <summary>How one scenario ended on one side.</summary>
internal sealed record Outcome(Scenario Scenario, Contender Contender, PoolSize Size, Tally Tally, TimeSpan Elapsed)
{
    /// <summary>Gets how many lost connections the pool took back by itself.</summary>
    public required long Recovered { get; init; }

    /// <summary>Gets how many connections could be rented at the same time when everything was over.</summary>
    public required int PlacesBack { get; init; }

    /// <summary>Gets what the first failure said, or else the first warning.</summary>
    public required string? Message { get; init; }

    /// <summary>Gets what the pool itself says is missing.</summary>
    public required string? Loss { get; init; }

    /// <summary>Gets how many sessions the server still had after the pool was disposed.</summary>
    public int SessionsLeft { get; init; }

    /// <summary>Gets what ended the scenario before its end.</summary>
    public required Exception? Crash { get; init; }

    /// <summary>Says what this side did not keep of what it promises.</summary>
    public IEnumerable<string> Defects()
    {
        if (Crash is not null)
        {
            yield return Defect($"the scenario broke off: {Crash}");
        }

        if (Contender.MustServeAll && (Tally.Failed > 0 || Tally.Served != Scenario.Requests))
        {
            yield return Defect($"{Tally.Served:N0} of {Scenario.Requests:N0} requests were served, {Tally.Failed:N0} failed: {Tally.Message}");
        }

        if (!Contender.MustLoseNothing)
        {
            yield break;
        }

        if (PlacesBack != Size.Places)
        {
            yield return Defect($"only {PlacesBack} of {Size.Places} places are usable.");
        }

        if (Loss is not null)
        {
            yield return Defect($"not everything came back: {Loss}");
        }

        if (SessionsLeft > 0)
        {
            yield return Defect($"{SessionsLeft} sessions outlived the pool.");
        }
    }

    private string Defect(string what) => $"{Scenario.Title}, {Contender.Name}: {what}";
}
