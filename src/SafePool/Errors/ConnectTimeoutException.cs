using SafePool.Reports;

namespace SafePool;

/// <summary>The pool had room, but no connection was open in time.</summary>
public sealed class ConnectTimeoutException : PoolException
{
    internal ConnectTimeoutException(PoolSnapshot snapshot, AcquirePhase phase, TimeSpan waited, Diagnosis diagnosis)
        : base(Sentences.ConnectTimeout(snapshot, phase, waited, diagnosis), snapshot, snapshot.LastConnectError)
    {
        Phase = phase;
        Waited = waited;
        Diagnosis = diagnosis;
        HelpLink = diagnosis.HelpLink;
    }

    /// <summary>Gets what the rent was waiting for when its time ran out.</summary>
    public AcquirePhase Phase { get; }

    /// <summary>Gets how long this rent waited.</summary>
    public TimeSpan Waited { get; }

    /// <summary>Gets why no connection was open in time, and what the verdict rests on.</summary>
    public Diagnosis Diagnosis { get; }
}
