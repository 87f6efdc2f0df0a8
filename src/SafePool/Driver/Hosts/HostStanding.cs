using SafePool.Options;

namespace SafePool.Driver.Hosts;

/// <summary>What the pool has found out about one host, and for how long it goes by it.</summary>
/// <remarks>
/// <para>
/// A host that failed, or had the wrong role, is doubted for <see cref="PoolSettings.HostRecheck"/>: it is tried last, but tried. Once that is over the first open that comes by
/// tries it in its old rank, and all others go on doubting it until that one has succeeded: a host that is silent costs one open in that time, not each.
/// </para>
/// <para>Thread-safety: every member may be called from any thread; each is one atomic step, and the last one wins.</para>
/// </remarks>
internal sealed class HostStanding(TimeSpan recheck, TimeProvider clock)
{
    private const long Never = long.MinValue;

    private static readonly TimeSpan _lately = TimeSpan.FromSeconds(5);

    private long _doubtedUntil = Never;
    private long _answeredAt = Never;
    private long _askedAt = Never;
    private int _role;

    /// <summary>What the newest session heard; not what older ones heard.</summary>
    public HostRole Role => (HostRole)Volatile.Read(ref _role);

    /// <summary>The same, unless that is too long ago to be held against it.</summary>
    public HostRole RecentRole => Volatile.Read(ref _askedAt) is var at && at != Never && clock.GetElapsedTime(at) < recheck ? Role : HostRole.Unknown;

    /// <summary>Whether it is to be tried after the others.</summary>
    public bool IsDoubted => Volatile.Read(ref _doubtedUntil) is var until && until != Never && clock.GetTimestamp() < until;

    /// <summary>Whether it was doubted, and nobody has found out since.</summary>
    public bool IsUncertain => Volatile.Read(ref _doubtedUntil) != Never;

    /// <summary>Whether it let a session of a fitting role in within the last seconds, and has not failed since.</summary>
    public bool HasAnsweredLately
        => !IsUncertain && Volatile.Read(ref _answeredAt) is var at && at != Never && clock.GetElapsedTime(at) < _lately;

    /// <summary>As <see cref="IsDoubted"/>, for one who will try it: false for the one who comes first when the time is over.</summary>
    public bool IsDoubtedByMe()
    {
        var until = Volatile.Read(ref _doubtedUntil);
        return until != Never
            && (clock.GetTimestamp() < until || Interlocked.CompareExchange(ref _doubtedUntil, Next(), until) != until);
    }

    /// <summary>It let a session in that is of use.</summary>
    /// <returns>What it was before: to one caller for each change.</returns>
    public HostRole NoteGood(HostRole role)
    {
        var before = NoteRole(role);
        Volatile.Write(ref _answeredAt, clock.GetTimestamp());
        Volatile.Write(ref _doubtedUntil, Never);
        return before;
    }

    /// <summary>It said what it is: of use, but not what is looked for first.</summary>
    /// <returns>What it was before.</returns>
    public HostRole NoteRole(HostRole role)
    {
        Volatile.Write(ref _askedAt, clock.GetTimestamp());
        return (HostRole)Interlocked.Exchange(ref _role, (int)role);
    }

    /// <summary>It did not let a session in, or is of no use.</summary>
    public void NoteBad(HostRole? role = null)
    {
        if (role is { } said)
        {
            NoteRole(said);
        }

        Volatile.Write(ref _doubtedUntil, Next());
    }

    /// <summary>It is worth a try like any other. What it was is remembered, to tell when it is something else now.</summary>
    public void Forget()
    {
        Volatile.Write(ref _askedAt, Never);
        Volatile.Write(ref _doubtedUntil, Never);
    }

    private long Next() => clock.GetTimestamp() + (long)(recheck.TotalSeconds * clock.TimestampFrequency);
}
