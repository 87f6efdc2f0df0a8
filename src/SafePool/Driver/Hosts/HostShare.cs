namespace SafePool.Driver.Hosts;

/// <summary>One host's share of the time that an open has.</summary>
internal sealed class HostShare : IDisposable
{
    private readonly CancellationTokenSource _timeout;
    private readonly CancellationTokenSource _either;
    private readonly CancellationToken _outer;

    public HostShare(TimeSpan share, TimeProvider clock, CancellationToken outer)
    {
        _outer = outer;
        _timeout = new CancellationTokenSource(share, clock);
        _either = CancellationTokenSource.CreateLinkedTokenSource(_timeout.Token, outer);
    }

    public CancellationToken Token => _either.Token;

    /// <summary>Whether it ran out, and not the whole.</summary>
    public bool IsOver => _timeout.IsCancellationRequested && !_outer.IsCancellationRequested;

    public void Dispose()
    {
        _either.Dispose();
        _timeout.Dispose();
    }
}
