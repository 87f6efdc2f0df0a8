using System.Globalization;
using Npgsql;
using SafePool.TestKit;

namespace SafePool.LoadTests.Capacity;

/// <summary>More requests than the connections can serve, arriving on schedule: how many are served all the same, how late, and how soon the others are told.</summary>
internal static class Overload
{
    private static readonly TimeSpan _budget = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan _measuring = TimeSpan.FromSeconds(5);

    public static async Task RunAsync(PostgresServer server, IReadOnlyList<double> times, TimeSpan duration)
    {
        var text = new NpgsqlConnectionStringBuilder(server.ConnectionString)
        {
            MaxPoolSize = Workload.Places, MaxAutoPrepare = 20, SslMode = SslMode.Disable, GssEncryptionMode = GssEncryptionMode.Disable,
        }.ConnectionString;
        var capacity = await MeasureAsync(text);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"Capacity: {capacity:0} requests/s, by {Workload.Places} workers with a connection each."));
        Console.WriteLine();
        Console.WriteLine("| load | side | arrivals/s | served/s | of capacity | refused | failed | served: p50 / p99 / max | refused: told within p50 / p99 | generator's lag, p99 | processor |");
        Console.WriteLine("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
        foreach (var factor in times)
        {
            foreach (var create in Service.All(text, Workload.Query, _budget))
            {
                await using var service = create();

                // Its connections, and its code, are warm.
                await OpenLoop.RunAsync(service, (int)(capacity / 2), TimeSpan.FromSeconds(2));
                var used = Environment.CpuUsage.TotalTime;
                var arrivals = await OpenLoop.RunAsync(service, (int)(capacity * factor), duration);
                Console.WriteLine(Describe(factor, service, arrivals, capacity, duration, (Environment.CpuUsage.TotalTime - used) / duration));
            }
        }
    }

    private static async Task<double> MeasureAsync(string text)
    {
        await using var source = NpgsqlDataSource.Create(text);
        var begun = Clock.Now;
        var counts = await Task.WhenAll(Enumerable.Range(0, Workload.Places).Select(async _ =>
        {
            await using var connection = await source.OpenConnectionAsync();
            var count = 0;
            for (; Clock.Between(begun, Clock.Now) < _measuring; count++)
            {
                await using var command = new NpgsqlCommand(Workload.Query, connection);
                await command.ExecuteScalarAsync();
            }

            return count;
        }));
        return counts.Sum() / Clock.Between(begun, Clock.Now).TotalSeconds;
    }

    private static string Describe(double factor, Service service, IReadOnlyList<Arrival> arrivals, double capacity, TimeSpan duration, double processors)
    {
        var end = Clock.After(arrivals[0].Due, duration);
        var served = arrivals.Where(arrival => arrival.Answer == Answer.Served).ToArray();
        var goodput = served.Count(arrival => arrival.Ended <= end) / duration.TotalSeconds;
        var refused = arrivals.Where(arrival => arrival.Answer == Answer.Refused).ToArray();
        var late = Sorted(served, arrival => Clock.Between(arrival.Due, arrival.Ended));
        var told = Sorted(refused, arrival => Clock.Between(arrival.Begun, arrival.Ended));
        var lag = Sorted(arrivals, arrival => Clock.Between(arrival.Due, arrival.Begun));
        return string.Create(
            CultureInfo.InvariantCulture,
            $"| {factor:0}× | {service.Name} | {arrivals.Count / duration.TotalSeconds:#,0} | {goodput:#,0} | {goodput / capacity:0 %} | {refused.Length:#,0} | {arrivals.Count - served.Length - refused.Length:#,0} | {Milliseconds(late, 0.5)} / {Milliseconds(late, 0.99)} / {Milliseconds(late, 1)} ms | {Milliseconds(told, 0.5)} / {Milliseconds(told, 0.99)} ms | {Milliseconds(lag, 0.99)} ms | {processors:0.00} |");
    }

    private static TimeSpan[] Sorted(IEnumerable<Arrival> arrivals, Func<Arrival, TimeSpan> of) => [.. arrivals.Select(of).Order()];

    private static string Milliseconds(TimeSpan[] sorted, double share)
        => sorted.Length == 0 ? "-" : sorted[Math.Min(sorted.Length - 1, (int)(sorted.Length * share))].TotalMilliseconds.ToString("0.##", CultureInfo.InvariantCulture);
}
