using Npgsql;
using SafePool.Lifecycle;

namespace SafePool.Driver;

/// <summary>One data source of a host, and what its own pool counts that has no place any more: opens that were given up and have not ended, and connections that were written off.</summary>
/// <remarks>
/// Npgsql has no word to make it forget them: its limit is for good, and an open that finds it reached waits inside of Npgsql. So <see cref="ConnectionOpener"/> goes on with another data source before that.
/// Thread-safety: whoever gives something up counts it before its place is free, and it is uncounted once, by whoever sees it end.
/// </remarks>
internal sealed class DriverPool(NpgsqlDataSource source, int size)
{
    private int _lost;

    public NpgsqlDataSource Source { get; } = source;

    /// <summary>Npgsql's own limit.</summary>
    public int Size { get; } = size;

    public int Lost => Volatile.Read(ref _lost);

    public void NoteLost(int change) => Interlocked.Add(ref _lost, change);

    /// <summary>Whether one more that is lost would make a pool of this size wait for Npgsql.</summary>
    public bool IsWorn(int maxSize) => Lost is > 0 and var lost && maxSize + lost >= Size;
}
