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
}
