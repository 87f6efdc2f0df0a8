namespace SafePool.Samples.Exhaustion.Sides;

/// <summary>One side of a scenario before it starts.</summary>
/// <param name="Name">What the table calls it.</param>
/// <param name="Create">Makes it from a connection string that holds its size, and the size.</param>
/// <param name="MustServeAll">A failed request is a defect here.</param>
/// <param name="MustLoseNothing">A place that is not back at the end is a defect here.</param>
internal sealed record Contender(string Name, Func<string, PoolSize, ISide> Create, bool MustServeAll, bool MustLoseNothing)
{
    public static Contender RawNpgsql { get; } = new(
        "raw Npgsql",
        (connectionString, _) => new RawNpgsql(connectionString),
        MustServeAll: false,
        MustLoseNothing: false);

    public static Contender SafePool { get; } = SafePoolWith("", _ => { });

    public static Contender SafePoolWith(string what, Action<ConnectionPoolOptions> configure, bool mustServeAll = true)
        => new(
            $"SafePool{what}",
            (connectionString, size) =>
            {
                var options = new ConnectionPoolOptions
                {
                    // Says MaxSize as well: 'Maximum Pool Size' is the same setting.
                    ConnectionString = connectionString,
                    Name = "exhaustion",
                    AcquireTimeout = size.AcquireTimeout,
                };
                // Nothing here is meant to be held for longer.
                options.Leaks.Threshold = TimeSpan.FromSeconds(1);
                configure(options);
                return new SafePoolSide(options);
            },
            mustServeAll,
            MustLoseNothing: true);
}
