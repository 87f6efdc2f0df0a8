using SafePool.LoadTests.Contenders;

namespace SafePool.LoadTests;

/// <summary>What every contender has to serve, in every scenario.</summary>
internal static class Workload
{
    public const int RequestsPerSecond = 500;

    /// <summary>Connections of a pool.</summary>
    public const int Places = 20;

    /// <summary>Threads that the thread pool gives out at once.</summary>
    public const int Threads = 64;

    /// <summary>Ten milliseconds on the server that cost it nothing, so that about five requests run at any moment.</summary>
    public const string Query = "SELECT 1 FROM pg_sleep(0.01)";

    /// <summary>How long a request may wait for its connection, as each pool is told.</summary>
    public static readonly TimeSpan RentBudget = TimeSpan.FromSeconds(5);

    /// <summary>How long its command may take, as Npgsql is told: the default of 30 s would outlast the runs.</summary>
    public static readonly TimeSpan CommandBudget = TimeSpan.FromSeconds(2);

    /// <summary>Beyond its budget by more than this, a rent or a command hung.</summary>
    public static readonly TimeSpan Tolerance = TimeSpan.FromMilliseconds(250);

    /// <summary>How long requests may go on after the last one began; those that are still at it then hung.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    /// <summary>The load before the fault.</summary>
    public static readonly TimeSpan Steady = TimeSpan.FromSeconds(2);

    /// <summary>Fills a pool, so that a fault finds as many connections at rest on each side.</summary>
    public static async Task WarmUpAsync(IContender contender)
    {
        var rented = await Task.WhenAll(Enumerable.Range(0, Places).Select(_ => contender.RentAsync().AsTask()));
        foreach (var one in rented)
        {
            await using (one)
            {
                await one.ExecuteAsync(Query);
            }
        }
    }
}
