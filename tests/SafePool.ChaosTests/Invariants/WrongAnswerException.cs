namespace SafePool.ChaosTests.Invariants;

/// <summary>A session answered something that was not asked on this lease, or still has what an earlier lease left.</summary>
internal sealed class WrongAnswerException(string message) : Exception(message);
