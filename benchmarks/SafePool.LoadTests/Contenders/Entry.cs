using Npgsql;

namespace SafePool.LoadTests.Contenders;

/// <summary>A contender before its run.</summary>
/// <param name="Name">What the table calls it.</param>
/// <param name="Create">Makes it from a connection string that holds all that is the same for all.</param>
/// <param name="KeepsPromises">Whether it is held to <see cref="Promises"/>.</param>
internal sealed record Entry(string Name, Func<NpgsqlConnectionStringBuilder, IContender> Create, bool KeepsPromises)
{
    public static Entry RawNpgsql { get; } = Raw("raw Npgsql", _ => { });

    /// <summary>Whatever the state of a host is, it is asked for anew.</summary>
    public static Entry RawNpgsqlWithoutHostCache { get; } = Raw("raw Npgsql, Host Recheck Seconds=0", text => text.HostRecheckSeconds = 0);

    public static Entry SafePool { get; } = new("SafePool", text => new SafePoolContender(text.ConnectionString), KeepsPromises: true);

    private static Entry Raw(string name, Action<NpgsqlConnectionStringBuilder> change)
        => new(
            name,
            text =>
            {
                // Npgsql's Timeout is for waiting and connecting together, as SafePool's AcquireTimeout is.
                text.Timeout = (int)Workload.RentBudget.TotalSeconds;
                change(text);
                return new RawNpgsql(text.ConnectionString);
            },
            KeepsPromises: false);
}
