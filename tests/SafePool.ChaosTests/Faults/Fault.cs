namespace SafePool.ChaosTests.Faults;

/// <summary>Something that goes wrong: it begins, lasts for as long as its episode says, and heals.</summary>
/// <remarks>Begun once and healed once, in this order, by one flow. Healing leaves everything as if nothing had been, but for broken connections.</remarks>
internal abstract record Fault
{
    /// <summary>Gets whether sessions that are open hear nothing for a while, instead of breaking.</summary>
    public virtual bool SilencesSessions => false;

    public abstract Task BeginAsync(Landscape landscape);

    public virtual Task HealAsync(Landscape landscape) => Task.CompletedTask;
}
