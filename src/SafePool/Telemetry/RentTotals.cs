namespace SafePool.Telemetry;

/// <summary>How many rents had to wait, and how many of them in vain.</summary>
internal sealed class RentTotals
{
    private long _waits;
    private long _timeouts;
    private long _rejected;

    public long Waits => Volatile.Read(ref _waits);

    public long Timeouts => Volatile.Read(ref _timeouts);

    public long Rejected => Volatile.Read(ref _rejected);

    public void CountWait() => Interlocked.Increment(ref _waits);

    public void CountTimeout() => Interlocked.Increment(ref _timeouts);

    public void CountRejected() => Interlocked.Increment(ref _rejected);
}
