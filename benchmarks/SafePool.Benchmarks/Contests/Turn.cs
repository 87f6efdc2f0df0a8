namespace SafePool.Benchmarks.Contests;

/// <summary>What one contender did in one round.</summary>
/// <param name="Operations">How many it finished.</param>
/// <param name="Elapsed">In what time.</param>
/// <param name="Fairness">What the slowest worker did, as a share of what the fastest did.</param>
/// <param name="AllocatedBytes">By the whole process.</param>
/// <param name="ClientProcessor">Processor time of this process.</param>
/// <param name="ServerProcessor">Processor time of the server.</param>
/// <param name="Latencies">Of single operations, in ascending order; empty where they were not measured.</param>
internal sealed record Turn(long Operations, TimeSpan Elapsed, double Fairness, long AllocatedBytes, TimeSpan ClientProcessor, TimeSpan ServerProcessor, IReadOnlyList<TimeSpan> Latencies)
{
    public double Nanoseconds => Elapsed.TotalNanoseconds / Operations;

    public double Bytes => (double)AllocatedBytes / Operations;
}
