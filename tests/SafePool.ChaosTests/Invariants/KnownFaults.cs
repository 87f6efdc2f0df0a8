namespace SafePool.ChaosTests.Invariants;

/// <summary>What this suite has found and that is to stay, or is not mended yet. Each loosens one check, so that the run finds others.</summary>
/// <remarks>Mended: the line goes.</remarks>
internal static class KnownFaults
{
    /// <summary>
    /// A caller who blocks sets timeouts on his own thread: another one for each rent would cost more than it is worth. Npgsql bounds it: 2 s for the words, some more to give up. Granted
    /// where sessions fall silent, and only to blocking rents that have a timeout to set.
    /// </summary>
    public static readonly TimeSpan WordsWithASilentServer = TimeSpan.FromSeconds(6);

    /// <summary>
    /// One socket more than there may be, for a moment, was seen once in some ten minutes, directly and behind a pooler; here 8 for a pool of 6, and what it is nobody knows yet (docs/chaos.md).
    /// </summary>
    public const int SocketsBeside = 1;
}
