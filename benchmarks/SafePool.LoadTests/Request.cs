using SafePool.LoadTests.Contenders;

namespace SafePool.LoadTests;

/// <summary>One request: rent, query, return. All times are timestamps, zero for what has not happened.</summary>
/// <param name="due">When it had to begin.</param>
internal sealed class Request(long due)
{
    public long Began { get; private set; }

    public long Rented { get; private set; }

    public long Ended { get; private set; }

    public Exception? Failure { get; private set; }

    public TimeSpan Lag => Clock.Between(due, Began);

    public bool IsServed => Ended != 0 && Failure is null;

    public bool RentFailed => Failure is not null && Rented == 0;

    public bool CommandFailed => Failure is not null && Rented != 0;

    public async Task RunAsync(IContender contender)
    {
        Began = Clock.Now;
        try
        {
            await using var rented = await contender.RentAsync();
            Rented = Clock.Now;
            await rented.ExecuteAsync(Workload.Query);
        }
        catch (Exception failure)
        {
            Failure = failure;
        }

        Ended = Clock.Now;
    }

    /// <summary>How long it waited for a connection, or for the news that it gets none.</summary>
    public TimeSpan Wait(long endOfRun) => Clock.Between(Began, FirstOf(Rented, Ended, endOfRun));

    public bool RentHung(long endOfRun) => Wait(endOfRun) > Workload.RentBudget + Workload.Tolerance;

    public bool CommandHung(long endOfRun)
        => Rented != 0 && Clock.Between(Rented, FirstOf(Ended, endOfRun)) > Workload.CommandBudget + Workload.Tolerance;

    private static long FirstOf(params ReadOnlySpan<long> times)
    {
        foreach (var time in times)
        {
            if (time != 0)
            {
                return time;
            }
        }

        return 0;
    }
}
