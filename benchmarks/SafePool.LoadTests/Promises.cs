namespace SafePool.LoadTests;

/// <summary>What SafePool is held to. A broken promise is a defect, and the exit code says so.</summary>
internal static class Promises
{
    /// <summary>How many rents a restart may cost.</summary>
    public const int FailedRentsOfARestart = 0;

    /// <summary>How often a server that is down may be asked within any second.</summary>
    public const int AttemptsPerSecondOfAnOutage = 5;

    /// <summary>From when on in an outage a rent knows at once, and is told by a <see cref="CircuitOpenException"/>.</summary>
    public static readonly TimeSpan FailFastAfter = TimeSpan.FromSeconds(2.5);

    /// <summary>How long after an outage the first request may end well.</summary>
    public static readonly TimeSpan FirstSuccessAfterAnOutage = TimeSpan.FromSeconds(1.5);

    /// <summary>How much longer than the promotion itself nobody may be served.</summary>
    public static readonly TimeSpan BeyondAPromotion = TimeSpan.FromSeconds(0.5);

    public static IEnumerable<string> RidesThrough(Outcome outcome)
    {
        if (outcome.FailedRents > FailedRentsOfARestart)
        {
            yield return $"{outcome.FailedRents} rents failed; {FailedRentsOfARestart} may.";
        }
    }

    public static IEnumerable<string> FailsFast(Outcome outcome)
    {
        if (outcome.FailedLate.Count(request => request.Failure is not CircuitOpenException) is > 0 and var others)
        {
            yield return $"{others} rents that began more than {FailFastAfter.TotalSeconds:0.0} s into the outage failed with something else than {nameof(CircuitOpenException)}.";
        }

        if (outcome.HungRents > 0)
        {
            yield return $"{outcome.HungRents} rents hung longer than their budget.";
        }

        if (outcome.AttemptsPerSecondDuring > AttemptsPerSecondOfAnOutage)
        {
            yield return $"{outcome.AttemptsPerSecondDuring} attempts to connect within a second of the outage; {AttemptsPerSecondOfAnOutage} may be.";
        }

        if (!(outcome.FirstSuccess < FirstSuccessAfterAnOutage))
        {
            yield return $"the first success came {Report.Duration(outcome.FirstSuccess)} after the server was ready; {Report.Duration(FirstSuccessAfterAnOutage)} it may take.";
        }
    }

    public static IEnumerable<string> FollowsThePromotion(Outcome outcome)
    {
        var most = outcome.Fault.Duration + BeyondAPromotion;
        if (outcome.Gap >= most)
        {
            yield return $"nobody was served for {Report.Duration(outcome.Gap)}; {Report.Duration(most)} is the limit, promotion included.";
        }
    }
}
