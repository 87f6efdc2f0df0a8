using Microsoft.Extensions.Logging;
using SafePool.TestKit;

namespace SafePool.Samples.Exhaustion.Sides;

internal sealed class SafePoolSide : ISide
{
    private static readonly TimeSpan _patience = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan _pause = TimeSpan.FromMilliseconds(20);

    private readonly LogCollector _log = new();
    private readonly ConnectionPool _pool;

    public SafePoolSide(ConnectionPoolOptions options) => _pool = new ConnectionPool(options, _log);

    public long Recovered => _pool.GetSnapshot().TotalReclaimed;

    public string? Warning => _log.Entries.FirstOrDefault(entry => entry.Level >= LogLevel.Warning)?.Message;

    public async Task<Rented> RentAsync(string member, string file, int line)
    {
        var lease = await _pool.RentAsync(CancellationToken.None, member, file, line);
        return new Rented(lease.Connection, lease);
    }

    public async Task<string?> FindLossAsync()
    {
        var begun = TimeProvider.System.GetTimestamp();
        var pool = _pool.GetSnapshot();
        while (pool is not { Leased: 0, Quarantined: 0, Waiting: 0 } && TimeProvider.System.GetElapsedTime(begun) < _patience)
        {
            await Task.Delay(_pause, TimeProvider.System);
            pool = _pool.GetSnapshot();
        }

        return pool is { Leased: 0, Quarantined: 0, Waiting: 0 }
            ? null
            : $"{pool.Leased} leased, {pool.Quarantined} quarantined, {pool.Waiting} waiting, longest held: {pool.Holders.FirstOrDefault()}";
    }

    public async ValueTask DisposeAsync()
    {
        await _pool.DisposeAsync();
        _log.Dispose();
    }
}
