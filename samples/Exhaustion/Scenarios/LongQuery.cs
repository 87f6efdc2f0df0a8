using Npgsql;
using SafePool.Samples.Exhaustion.Sides;

namespace SafePool.Samples.Exhaustion.Scenarios;

/// <summary>Queries that run for a minute hold every connection; others want one in the meantime.</summary>
internal sealed class LongQuery : Scenario
{
    // The first that the server cancels serves everybody; the others shall have the time to be cancelled as well.
    private static readonly TimeSpan _grace = TimeSpan.FromMilliseconds(300);

    public override string Title => "(d) long queries";

    public override PoolSize Size { get; } = new(Places: 10, AcquireTimeout: TimeSpan.FromSeconds(1));

    public override int Requests => 5;

    public override IReadOnlyList<Contender> Contenders =>
    [
        Contender.RawNpgsql,
        // No pool can serve here; this one says who has the connections.
        Contender.SafePoolWith("", _ => { }, mustServeAll: false),
        Contender.SafePoolWith(", StatementTimeout 0.3 s", options => options.StatementTimeout = TimeSpan.FromSeconds(0.3)),
    ];

    public override async Task RunAsync(ISide side, PoolSize size, Tally tally)
    {
        using var enough = new CancellationTokenSource();
        var leases = await Task.WhenAll(Enumerable.Range(0, size.Places).Select(_ => side.RentAsync()));
        var reports = leases.Select(lease => ReportAsync(lease, enough.Token)).ToArray();
        await Task.WhenAll(Enumerable.Range(0, Requests).Select(_ => tally.RequestAsync(() => AskAsync(side, tally))));
        enough.CancelAfter(_grace);
        foreach (var ending in (await Task.WhenAll(reports)).GroupBy(ending => ending))
        {
            tally.Note($"{ending.Count()} long queries: {ending.Key}");
        }
    }

    private static async Task AskAsync(ISide side, Tally tally)
    {
        using var lease = await tally.WaitAsync(() => side.RentAsync());
        await lease.ExecuteAsync("SELECT 1");
    }

    private static async Task<string> ReportAsync(Rented rented, CancellationToken cancellationToken)
    {
        using var lease = rented;
        try
        {
            await lease.ExecuteAsync("SELECT pg_sleep(60)", cancellationToken);
            return "ran to their end.";
        }
        catch (OperationCanceledException)
        {
            return "still running when the sample ended them.";
        }
        catch (PostgresException ended)
        {
            return $"\"{ended.Message}\"";
        }
    }
}
