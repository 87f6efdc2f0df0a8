using System.Globalization;
using Npgsql;
using SafePool.TestKit;

namespace SafePool.LoadTests.Capacity;

/// <summary>Two hundred requests at once on an empty pool, as after a deployment: when the last one is served, and what was opened for it.</summary>
internal static class ColdStart
{
    private const int Requests = 200;
    private const int Rounds = 9;
    private static readonly TimeSpan _budget = TimeSpan.FromSeconds(15);

    public static async Task RunAsync(PostgresServer server)
    {
        Console.WriteLine("| query | side | all served: median | best / worst | connections opened |");
        Console.WriteLine("|---|---|---:|---:|---:|");
        foreach (var query in new[] { "SELECT 1", Workload.Query })
        {
            var results = new Dictionary<string, List<(TimeSpan Took, long Opened)>>();
            for (var round = 0; round < Rounds; round++)
            {
                // The first two: how a refusal is told does not matter here.
                foreach (var number in new[] { 0, 1 })
                {
                    var name = $"cold-{round}-{number}";
                    var text = new NpgsqlConnectionStringBuilder(server.ConnectionString) { MaxPoolSize = Workload.Places, ApplicationName = name }.ConnectionString;
                    await using var service = Service.All(text, query, _budget)[number]();
                    var took = await BurstAsync(service);
                    var opened = await CountAsync(server, name);
                    if (!results.TryGetValue(service.Name, out var of))
                    {
                        results[service.Name] = of = [];
                    }

                    of.Add((took, opened));
                }
            }

            foreach (var (side, of) in results)
            {
                var times = of.Skip(1).Select(one => one.Took.TotalMilliseconds).Order().ToArray();
                Console.WriteLine(string.Create(
                    CultureInfo.InvariantCulture,
                    $"| `{query}` | {side} | {times[times.Length / 2]:0} ms | {times[0]:0} / {times[^1]:0} ms | {of.Select(one => one.Opened).Order().ElementAt(of.Count / 2)} |"));
            }
        }
    }

    private static async Task<TimeSpan> BurstAsync(Service service)
    {
        var begun = Clock.Now;
        var answers = await Task.WhenAll(Enumerable.Range(0, Requests).Select(_ => Task.Run(service.AnswerAsync)));
        return answers.All(answer => answer == Answer.Served)
            ? Clock.Between(begun, Clock.Now)
            : throw new InvalidOperationException($"{service.Name} served {answers.Count(answer => answer == Answer.Served)} of {Requests}.");
    }

    /// <summary>Sessions of the pool itself. Its control connection has the application's name as well, and is one of them.</summary>
    private static async Task<long> CountAsync(PostgresServer server, string name)
    {
        await using var source = NpgsqlDataSource.Create(server.ConnectionString);
        await using var command = source.CreateCommand("SELECT count(*) FROM pg_stat_activity WHERE application_name = $1");
        command.Parameters.Add(new() { Value = name });
        return (long)(await command.ExecuteScalarAsync())!;
    }
}
