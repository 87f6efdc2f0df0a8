using SafePool.Reports;

namespace SafePool.Leases;

/// <summary>How long leases have been held lately: a ring of samples.</summary>
/// <remarks>
/// Takes what slots measure: of the leases that had to wait for their connection one a tick of the coarse clock for each place, and every 64th of the others. Thread-safety: any thread may add or
/// read; a sample that is read while it is written may be half of one and half of another, which no median notices.
/// </remarks>
internal sealed class HoldTimes
{
    private const int Capacity = 256;

    private readonly Sample[] _samples = new Sample[Capacity];
    private int _added;

    public void Add(in RentSite site, TimeSpan held)
    {
        var index = (Interlocked.Increment(ref _added) - 1) & (Capacity - 1);
        _samples[index] = new Sample(site, held.Ticks);
    }

    /// <summary>The median of what was rented elsewhere than at <paramref name="except"/>; null without any sample.</summary>
    public TimeSpan? Median(RentSite? except = null)
    {
        List<long> held = [];
        foreach (var sample in _samples.AsSpan(0, Count))
        {
            if (sample.Site != except)
            {
                held.Add(sample.Ticks);
            }
        }

        held.Sort();
        return held.Count == 0 ? null : TimeSpan.FromTicks(held[held.Count / 2]);
    }

    /// <summary>The mean; null without any sample.</summary>
    public TimeSpan? Mean()
    {
        var sum = 0L;
        var samples = _samples.AsSpan(0, Count);
        foreach (var sample in samples)
        {
            sum += sample.Ticks;
        }

        return samples.IsEmpty ? null : TimeSpan.FromTicks(sum / samples.Length);
    }

    // Negative once the counter has wrapped around: full since long ago.
    private int Count => Volatile.Read(ref _added) is >= 0 and < Capacity and var added ? added : Capacity;

    private readonly record struct Sample(RentSite Site, long Ticks);
}
