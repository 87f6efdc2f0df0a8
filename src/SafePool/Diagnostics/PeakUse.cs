using SafePool.Time;

namespace SafePool.Diagnostics;

/// <summary>The most leases that were seen out at once within the last minute, or a second more.</summary>
/// <remarks>Written by the timer alone; a read that races with it may miss its last look.</remarks>
internal sealed class PeakUse(PoolClock clock)
{
    private static readonly TimeSpan _second = TimeSpan.FromSeconds(1);

    private readonly (long Second, int Leased)[] _seconds = new (long Second, int Leased)[61];

    public void Look(int leased)
    {
        var second = Second;
        ref var seen = ref _seconds[second % _seconds.Length];
        seen = (second, seen.Second == second ? Math.Max(seen.Leased, leased) : leased);
    }

    public int Read()
    {
        var oldest = Second - _seconds.Length + 1;
        return _seconds.Max(seen => seen.Second >= oldest ? seen.Leased : 0);
    }

    private long Second => clock.Exact / clock.After(0, _second);
}
