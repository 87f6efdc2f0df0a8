using System.Diagnostics.Metrics;

namespace SafePool.Telemetry;

/// <summary>The pools of the process that are not closed, for those who observe. Holds them weakly: one that is dropped disappears with the next collection.</summary>
internal static class LivePools
{
    private static readonly Lock _gate = new();
    private static readonly List<WeakReference<PoolTelemetry>> _pools = [];

    /// <summary>Names a pool: by its name or, while another live pool has that, with "-2", "-3" and so on.</summary>
    public static void Reserve(PoolTelemetry pool, string name)
    {
        lock (_gate)
        {
            var taken = All().Select(other => other.Name).ToHashSet(StringComparer.Ordinal);
            pool.Name = Enumerable.Range(2, taken.Count + 1).Select(number => $"{name}-{number}").Prepend(name).First(candidate => !taken.Contains(candidate));
            _pools.Add(new WeakReference<PoolTelemetry>(pool));
        }
    }

    /// <summary>Lets it be observed: it is whole.</summary>
    public static void Show(PoolTelemetry pool)
    {
        lock (_gate)
        {
            pool.IsShown = true;
        }
    }

    public static void Remove(PoolTelemetry pool)
    {
        lock (_gate)
        {
            _pools.RemoveAll(reference => !reference.TryGetTarget(out var other) || other == pool);
        }
    }

    public static IEnumerable<Measurement<long>> Observe(Func<PoolParts, long> read)
        => Present().Select(pool => new Measurement<long>(read(pool.Parts), pool.Tag)).ToArray();

    public static IEnumerable<Measurement<long>> Observe(Func<PoolParts, IEnumerable<(long Value, KeyValuePair<string, object?> Tag)>> read)
        => Present().SelectMany(pool => read(pool.Parts).Select(part => new Measurement<long>(part.Value, pool.Tag, part.Tag))).ToArray();

    private static PoolTelemetry[] Present()
    {
        lock (_gate)
        {
            return [.. All().Where(pool => pool.IsShown)];
        }
    }

    private static IEnumerable<PoolTelemetry> All()
    {
        foreach (var reference in _pools)
        {
            if (reference.TryGetTarget(out var pool))
            {
                yield return pool;
            }
        }
    }
}
