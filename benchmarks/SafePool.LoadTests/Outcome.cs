using SafePool.LoadTests.Contenders;
using SafePool.LoadTests.Scenarios;

namespace SafePool.LoadTests;

/// <summary>What one contender's run in one scenario amounts to.</summary>
/// <param name="Scenario">What happened.</param>
/// <param name="Entry">To whom.</param>
/// <param name="Requests">Every request of the run, in the order of their arrival.</param>
/// <param name="Attempts">When connections were attempted, in order.</param>
/// <param name="Fault">When it happened.</param>
/// <param name="End">When the run was over and every request was done or given up.</param>
internal sealed record Outcome(Scenario Scenario, Entry Entry, IReadOnlyList<Request> Requests, long[] Attempts, Fault Fault, long End)
{
    public int FailedRents => Requests.Count(request => request.RentFailed);

    public int FailedCommands => Requests.Count(request => request.CommandFailed);

    public TimeSpan LongestWait => Requests.Max(request => request.Wait(End));

    public int HungRents => Requests.Count(request => request.RentHung(End));

    public int HungCommands => Requests.Count(request => request.CommandHung(End));

    /// <summary>Gets by how much the most belated request missed its schedule: the load generator's own fault.</summary>
    public TimeSpan Lag => Requests.Max(request => request.Lag);

    /// <summary>Gets the longest time, from the last success before the fault to the end of the load, in which no request ended well.</summary>
    public TimeSpan Gap
    {
        get
        {
            long[] served = [.. Requests.Where(request => request.IsServed).Select(request => request.Ended).Order()];
            var before = served.LastOrDefault(at => at <= Fault.Down, Fault.Down);
            var last = Math.Max(Requests[^1].Began, served.LastOrDefault());
            long[] marks = [before, .. served.Where(at => at > Fault.Down), last];
            return marks.Zip(marks.Skip(1), Clock.Between).Max();
        }
    }

    /// <summary>Gets how long after the end of the fault the first request ended well; null if none did.</summary>
    public TimeSpan? FirstSuccess
        => Requests.Where(request => request.IsServed && request.Ended >= Fault.Ready).Min(request => (long?)request.Ended) is { } first
            ? Clock.Between(Fault.Ready, first)
            : null;

    /// <summary>Gets how long after the end of the fault a request still failed; null if none did.</summary>
    public TimeSpan? LastFailure
        => Requests.Where(request => request.Failure is not null && request.Ended > Fault.Ready).Max(request => (long?)request.Ended) is { } last
            ? Clock.Between(Fault.Ready, last)
            : null;

    /// <summary>Gets the most connection attempts in any second of the fault.</summary>
    public int AttemptsPerSecondDuring => MostPerSecond([.. Attempts.Where(at => at >= Fault.Down && at < Fault.Ready)]);

    /// <summary>Gets the most connection attempts in any second after it.</summary>
    public int AttemptsPerSecondAfter => MostPerSecond([.. Attempts.Where(at => at >= Fault.Ready)]);

    /// <summary>Gets the rents that failed although the outage was no news any more when they began.</summary>
    public IReadOnlyList<Request> FailedLate
        => [.. Requests.Where(request => request.RentFailed && request.Began >= Clock.After(Fault.Down, Promises.FailFastAfter))];

    private static int MostPerSecond(long[] attempts)
    {
        var most = 0;
        for (int first = 0, last = 0; last < attempts.Length; last++)
        {
            while (Clock.Between(attempts[first], attempts[last]) >= TimeSpan.FromSeconds(1))
            {
                first++;
            }

            most = Math.Max(most, last - first + 1);
        }

        return most;
    }
}
