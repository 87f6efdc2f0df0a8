namespace SafePool;

/// <summary>The pool had room, but no connection was open in time.</summary>
public sealed class ConnectTimeoutException : PoolException
{
    internal ConnectTimeoutException(PoolSnapshot snapshot, AcquirePhase phase, TimeSpan waited)
        : base(Errors.Sentences.ConnectTimeout(snapshot, phase, waited), snapshot, snapshot.LastConnectError)
    {
        Phase = phase;
        Waited = waited;
    }

    /// <summary>Gets what the rent was waiting for when its time ran out.</summary>
    public AcquirePhase Phase { get; }

    /// <summary>Gets how long this rent waited.</summary>
    public TimeSpan Waited { get; }
}
