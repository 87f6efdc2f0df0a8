using SafePool.LoadTests.Contenders;
using SafePool.TestKit;

namespace SafePool.LoadTests.Scenarios;

/// <summary>One thing that happens to a server under load.</summary>
internal abstract class Scenario
{
    public static IReadOnlyList<Scenario> All { get; } =
        [new Restart(StopMode.Fast), new Restart(StopMode.Immediate), new Outage(), new Promotion(), new Terminated(), new Blackhole()];

    /// <summary>Gets what <c>--only</c> calls it.</summary>
    public abstract string Id { get; }

    /// <summary>Gets what the table calls it.</summary>
    public abstract string Title { get; }

    public virtual IReadOnlyList<Entry> Entries => [Entry.RawNpgsql, Entry.SafePool];

    public virtual Task<Stage> SetAsync(PostgresServer server) => Task.FromResult(Stage.Of(server));

    /// <summary>Lets it happen, and returns once it is over.</summary>
    public abstract Task<Fault> StrikeAsync(Stage stage);

    /// <summary>Says what SafePool promised for this and did not keep.</summary>
    public virtual IEnumerable<string> Broken(Outcome outcome) => [];
}
