namespace SafePool.Leases;

/// <summary>What has been said about one lease that is held for too long.</summary>
/// <remarks>
/// The scanner announces, the return takes note; each moves the state by exchange, so that a lease which returns in the very moment of its report is
/// either not reported, or reported and said to have returned.
/// </remarks>
internal sealed class OverdueReport(long leaseId)
{
    private State _state = State.Noted;

    private enum State
    {
        Noted,
        BusyMentioned,
        Announced,
        Returned,
    }

    public long LeaseId { get; } = leaseId;

    public bool IsBusyMentioned => _state == State.BusyMentioned;

    public bool IsAnnounced => _state == State.Announced;

    public bool TryMentionBusy() => Interlocked.CompareExchange(ref _state, State.BusyMentioned, State.Noted) == State.Noted;

    public bool TryAnnounce()
        => Interlocked.CompareExchange(ref _state, State.Announced, State.Noted) == State.Noted
            || Interlocked.CompareExchange(ref _state, State.Announced, State.BusyMentioned) == State.BusyMentioned;

    /// <summary>Takes note of the return; true when the lease had been announced as overdue.</summary>
    public bool Close() => Interlocked.Exchange(ref _state, State.Returned) == State.Announced;
}
