namespace SafePool.LoadTests;

/// <summary>When the fault began, and when whoever causes it has seen that the server is usable again.</summary>
internal readonly record struct Fault(long Down, long Ready)
{
    public TimeSpan Duration => Clock.Between(Down, Ready);
}
