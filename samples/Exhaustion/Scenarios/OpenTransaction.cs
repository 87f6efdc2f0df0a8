using System.Runtime.CompilerServices;
using SafePool.Samples.Exhaustion.Sides;

namespace SafePool.Samples.Exhaustion.Scenarios;

/// <summary>Transactions left open, with a row locked in each; sessions beside the pool want those rows.</summary>
/// <remarks>
/// The pool is full of them. In one that is not full nothing forces a collection, and a dropped lease may stay unseen:
/// that is what <c>IdleInTransactionTimeout</c> is for.
/// </remarks>
internal sealed class OpenTransaction : Scenario
{
    private static readonly TimeSpan _lockTimeout = TimeSpan.FromSeconds(3);

    private readonly string _table = $"safepool_exhaustion_{Guid.NewGuid():N}";
    private Server? _server;

    public override string Title => "(e) open transaction";

    public override PoolSize Size { get; } = new(Places: 5, AcquireTimeout: TimeSpan.FromSeconds(2));

    public override int Requests => 5;

    public override IReadOnlyList<Contender> Contenders =>
    [
        Contender.RawNpgsql,
        Contender.SafePool,
        Contender.SafePoolWith(", IdleInTransactionTimeout 0.5 s", options => options.IdleInTransactionTimeout = TimeSpan.FromSeconds(0.5)),
    ];

    public override async Task PrepareAsync(Server server)
    {
        _server = server;
        await server.ExecuteAsync($"CREATE TABLE {_table} (id int PRIMARY KEY, stock int NOT NULL)");
        await server.ExecuteAsync($"INSERT INTO {_table} SELECT id, 100 FROM generate_series(1, {Requests}) AS id");
    }

    public override async Task RunAsync(ISide side, PoolSize size, Tally tally)
    {
        var items = Enumerable.Range(1, Requests).ToArray();
        foreach (var item in items)
        {
            await ReserveAsync(side, item);
        }

        await Task.WhenAll(items.Select(item => tally.RequestAsync(
            () => tally.WaitAsync(() => _server!.ExecuteAsync(Take(item), _lockTimeout)))));
    }

    public override Task CleanUpAsync(Server server) => server.ExecuteAsync($"DROP TABLE {_table}");

    [MethodImpl(MethodImplOptions.NoInlining)]
    private async Task ReserveAsync(ISide side, int item)
    {
        var lease = await side.RentAsync();
        await lease.ExecuteAsync("BEGIN");
        await lease.ExecuteAsync(Take(item));
        // Out of stock, so the method returns early: no COMMIT, no Dispose.
    }

    private string Take(int item) => $"UPDATE {_table} SET stock = stock - 1 WHERE id = {item}";
}
