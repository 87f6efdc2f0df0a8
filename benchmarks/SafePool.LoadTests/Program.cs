using System.Globalization;
using SafePool.LoadTests;
using SafePool.LoadTests.Capacity;
using SafePool.TestKit;

if (args is [Starvation.Command, var connectionString, var side, var callers, var held])
{
    // Not on a thread of the pool: it has few then.
    var thread = new Thread(() => Starvation.Play(connectionString, side, callers, held));
    thread.Start();
    thread.Join();
    return 0;
}

// By how much the load exceeds what can be served.
double[] factors = args is ["overload", .. var given] && given.All(one => double.TryParse(one, CultureInfo.InvariantCulture, out _))
    ? [.. given.Select(one => double.Parse(one, CultureInfo.InvariantCulture))]
    : [];
if (args is ["overload" or "cold-start" or "starvation" or "idle"] || factors.Length > 0)
{
    await using var one = await PostgresServer.StartAsync();
    Console.WriteLine($"PostgreSQL {one.Version}, {Workload.Places} connections, {Environment.ProcessorCount} processors");
    switch (args[0])
    {
        case "overload":
            await Overload.RunAsync(one, factors.Length > 0 ? factors : [2, 10], TimeSpan.FromSeconds(20));
            break;
        case "idle":
            await IdleCost.RunAsync(one);
            break;
        case "cold-start":
            await ColdStart.RunAsync(one);
            break;
        default:
            await Starvation.RunAsync(one);
            break;
    }

    return 0;
}

if (Arguments.TryRead(args) is not { } arguments)
{
    await Console.Error.WriteLineAsync(Arguments.Usage);
    return 2;
}

// Proxies and faults share the process with the contenders. Where Npgsql blocks threads of the pool, as it does to send cancel requests,
// the others must go on as they would on another machine.
ThreadPool.SetMinThreads(Workload.Threads, Workload.Threads);
var begun = Clock.Now;
PostgresServer server;
try
{
    server = await PostgresServer.StartAsync();
}
catch (InvalidOperationException error)
{
    await Console.Error.WriteLineAsync($"The load tests could not run: {error.Message}");
    return 2;
}

await using (server)
{
    Console.WriteLine($"PostgreSQL {server.Version}, {Workload.RequestsPerSecond} requests/s, {Workload.Places} connections, {Environment.ProcessorCount} processors");
    List<Outcome> outcomes = [];
    foreach (var scenario in arguments.Scenarios)
    {
        foreach (var entry in scenario.Entries)
        {
            var outcome = await Run.PlayAsync(server, scenario, entry, arguments.Aftermath);
            outcomes.Add(outcome);
            foreach (var line in Report.Lines(outcome))
            {
                Console.WriteLine(line);
            }
        }
    }

    Report.Print(outcomes);
    return Report.Conclude(outcomes, Clock.Between(begun, Clock.Now));
}
