using SafePool.Samples.Exhaustion.Sides;

namespace SafePool.Samples.Exhaustion.Scenarios;

/// <summary>More concurrent requests than connections, all of them well-behaved.</summary>
internal sealed class TooManyAtOnce : Scenario
{
    public override string Title => "(c) 50 at once on 10";

    public override PoolSize Size { get; } = new(Places: 10, AcquireTimeout: TimeSpan.FromSeconds(2));

    public override int Requests => 50;

    public override async Task RunAsync(ISide side, PoolSize size, Tally tally)
    {
        var begun = TimeProvider.System.GetTimestamp();
        var turns = new TimeSpan[Requests];
        var waits = new TimeSpan[Requests];
        await Task.WhenAll(Enumerable.Range(0, Requests).Select(arrival => tally.RequestAsync(async () =>
        {
            var arrived = TimeProvider.System.GetElapsedTime(begun);
            using var lease = await tally.WaitAsync(() => side.RentAsync());
            turns[arrival] = TimeProvider.System.GetElapsedTime(begun);
            waits[arrival] = turns[arrival] - arrived;
            await lease.ExecuteAsync($"SELECT pg_sleep({20 + (arrival * 7 % 31)} / 1000.0)");
        })));
        tally.Note(Waits(waits, size.Places));
        tally.Note(Order(turns));
    }

    private static string Waits(TimeSpan[] waits, int places)
        => $"Median wait of each {places} by arrival: {string.Join(", ", waits.Chunk(places).Select(ten => $"{Median(ten):0}"))} ms.";

    private static double Median(TimeSpan[] times) => times.Order().ElementAt(times.Length / 2).TotalMilliseconds;

    /// <summary>As the requests see it: two that are granted in the same moment may still be resumed by two threads in either order.</summary>
    private static string Order(TimeSpan[] turns)
    {
        var late = turns.Select((turn, arrival) => (turn - turns[arrival..].Min()).TotalMilliseconds).ToArray();
        return late.Max() switch
        {
            0 => "Served in strict order of arrival.",
            < 1 => $"Served in order of arrival, give or take {late.Max():0.00} ms between threads.",
            var lag => $"{late.Count(one => one >= 1)} resumed after a later arrival, by up to {lag:0} ms.",
        };
    }
}
