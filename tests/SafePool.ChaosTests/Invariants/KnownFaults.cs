namespace SafePool.ChaosTests.Invariants;

/// <summary>Faults of the pool that this suite has found and that are not mended yet. Each loosens one check, so that the run finds others.</summary>
/// <remarks>Mended: the test named here passes, and the line goes.</remarks>
internal static class KnownFaults
{
    /// <summary>
    /// FoundByChaosTests.RentAsync_WordsWithAServerThatFellSilent_KeepTheBudget: 2 s for the words, some more for Npgsql to give up, 2 s to return the connection. Granted where sessions fall
    /// silent, and only to rents that have a timeout to set.
    /// </summary>
    public static readonly TimeSpan WordsWithASilentServer = TimeSpan.FromSeconds(6);

    /// <summary>A timeout that is set on a session that has died: what Npgsql says to that surfaces from the rent, though the next connection would do.</summary>
    public const bool WordsWithADeadSessionSurface = true;
}
