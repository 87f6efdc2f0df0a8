using SafePool.Samples.Exhaustion.Sides;

namespace SafePool.Samples.Exhaustion;

/// <summary>One way in which services run out of connections, as code that does not know which side it runs on.</summary>
internal abstract class Scenario
{
    public abstract string Title { get; }

    public abstract PoolSize Size { get; }

    /// <summary>Gets how many requests are counted.</summary>
    public abstract int Requests { get; }

    public virtual IReadOnlyList<Contender> Contenders => [Contender.RawNpgsql, Contender.SafePool];

    public virtual Task PrepareAsync(Server server) => Task.CompletedTask;

    public abstract Task RunAsync(ISide side, PoolSize size, Tally tally);

    public virtual Task CleanUpAsync(Server server) => Task.CompletedTask;
}
