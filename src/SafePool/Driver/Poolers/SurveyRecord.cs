namespace SafePool.Driver.Poolers;

/// <summary>When it was last asked how a pooler works that one host leads to.</summary>
/// <remarks>
/// Thread-safety: <see cref="Begin"/> and <see cref="End"/> are called in turn; the rest may be called from any thread. What is asked is numbered, not timed: a survey counts for a connection that was there when it began.
/// </remarks>
internal sealed class SurveyRecord(TimeProvider clock)
{
    private const long Never = long.MinValue;

    // Who gets no second connection, or no second backend, may have waited a second for it.
    private static readonly TimeSpan _pause = TimeSpan.FromMinutes(1);

    private int _begun;
    private int _answered;
    private long _unansweredAt = Never;

    /// <summary>How many have begun.</summary>
    public int Begun => Volatile.Read(ref _begun);

    /// <summary>Whether none has brought an answer that began after so many, and the last one did not fail a moment ago.</summary>
    public bool IsDue(int begunBefore)
        => Volatile.Read(ref _answered) <= begunBefore
            && Volatile.Read(ref _unansweredAt) is var at && (at == Never || clock.GetElapsedTime(at) >= _pause);

    public void Begin() => Volatile.Write(ref _begun, _begun + 1);

    /// <summary>The one that has begun last is over.</summary>
    public void End(bool isAnswered)
    {
        if (isAnswered)
        {
            Volatile.Write(ref _answered, _begun);
        }

        Volatile.Write(ref _unansweredAt, isAnswered ? Never : clock.GetTimestamp());
    }
}
