using System.Diagnostics;
using System.Globalization;
using Npgsql;
using SafePool.TestKit;

namespace SafePool.Benchmarks;

/// <summary>The same comparison for machines that are not quiet: all contenders take turns in one process, round by round, and medians are compared.</summary>
internal static class Alternating
{
    private const int Rounds = 60;
    private const int WarmUpRounds = 10;
    private const int RentsInARound = 200_000;

    public static async Task RunAsync()
    {
        var database = await TestDatabase.AcquireAsync();
        await using var raw = NpgsqlDataSource.Create(database.ConnectionString);
        await using var off = Pool(database, LeaseTracking.Off);
        await using var callSite = Pool(database, LeaseTracking.CallSite);
        await using var adaptive = Pool(database, LeaseTracking.Adaptive);
        await using var traced = Pool(database, LeaseTracking.Adaptive);
        await using (await raw.OpenConnectionAsync())
        {
        }

        (string Name, Func<Task> Run)[] contenders =
        [
            ("raw OpenConnectionAsync + DisposeAsync", () => RawAsync(raw)),
            ("RentAsync, Off", () => RentAsync(off)),
            ("RentAsync, CallSite", () => RentAsync(callSite)),
            ("RentAsync, Adaptive (default)", () => RentAsync(adaptive)),
            ("RentAsync, Adaptive, inside an Activity", () => TracedAsync(traced)),
        ];
        var times = contenders.Select(_ => new List<double>()).ToArray();
        for (var round = 0; round < WarmUpRounds + Rounds; round++)
        {
            for (var i = 0; i < contenders.Length; i++)
            {
                var begun = TimeProvider.System.GetTimestamp();
                await contenders[i].Run();
                if (round >= WarmUpRounds)
                {
                    times[i].Add(TimeProvider.System.GetElapsedTime(begun).TotalNanoseconds / RentsInARound);
                }
            }
        }

        Console.WriteLine($"| contender | median ns | 10 % / 90 % | ratio to raw | ratio to Off |{Environment.NewLine}|---|---|---|---|---|");
        for (var i = 0; i < contenders.Length; i++)
        {
            Console.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"| {contenders[i].Name} | {Share(times[i], 0.5):0.0} | {Share(times[i], 0.1):0.0} / {Share(times[i], 0.9):0.0} | {Share(times[i], 0.5) / Share(times[0], 0.5):0.00} | {Share(times[i], 0.5) / Share(times[1], 0.5):0.00} |"));
        }

        await TestDatabase.ShutdownAsync();
    }

    private static ConnectionPool Pool(TestDatabase database, LeaseTracking tracking)
        => ConnectionPool.Create(database.ConnectionString, options => options.Leaks.Tracking = tracking);

    private static async Task RawAsync(NpgsqlDataSource raw)
    {
        for (var i = 0; i < RentsInARound; i++)
        {
            await using var connection = await raw.OpenConnectionAsync();
        }
    }

    private static async Task RentAsync(ConnectionPool pool)
    {
        for (var i = 0; i < RentsInARound; i++)
        {
            await using var lease = await pool.RentAsync();
        }
    }

    private static async Task TracedAsync(ConnectionPool pool)
    {
        using var request = new Activity("request").Start();
        await RentAsync(pool);
    }

    private static double Share(List<double> times, double share) => times.Order().ElementAt((int)(times.Count * share));
}
