namespace SafePool;

/// <summary>What a rent writes down about itself.</summary>
public enum LeaseTracking
{
    /// <summary>Nothing but the time. No report names a line, and no lease is reported as overdue; a dropped one is still taken back.</summary>
    Off = 0,

    /// <summary>The member, file and line of the rent, which the compiler supplies, and the trace id where tracing is on. Free at run time.</summary>
    CallSite,

    /// <summary><see cref="CallSite"/>, and a stack trace for rents from a line that has been reported once, at most 64 a second.</summary>
    Adaptive,

    /// <summary><see cref="CallSite"/>, and a stack trace for every rent: some ten microseconds and a kilobyte each.</summary>
    StackTrace,
}
