using System.Globalization;

namespace SafePool.Errors;

/// <summary>Every sentence that an exception says: what happened, the numbers, what to do.</summary>
internal static class Sentences
{
    public const string AmbientTransaction =
        "A lease cannot enlist in an ambient TransactionScope, and not enlisting silently would lose atomicity. " +
        "Use lease.BeginTransaction(), or say Enlist=false in the connection string if the scope is not meant for this pool.";

    public const string LeaseReturned =
        "This lease has been returned. Its connection may be serving somebody else; rent another one.";

    public static string Exhausted(PoolSnapshot pool, TimeSpan waited)
        => $"Pool '{pool.Name}' exhausted: waited {Duration(waited)}; {Counts(pool)}.{Longest(pool)} " +
           $"Return leases sooner ('using'), or raise MaxSize (now {pool.MaxSize}) if the server has room.";

    public static string Rejected(PoolSnapshot pool, int maxWaiters)
        => $"Pool '{pool.Name}' rejected the rent: {Counts(pool)}, and MaxWaiters is {maxWaiters}.{Longest(pool)} " +
           "Shed load, return leases sooner, or raise MaxWaiters.";

    public static string ConnectTimeout(PoolSnapshot pool, AcquirePhase phase, TimeSpan waited)
    {
        var wait = phase == AcquirePhase.Opening ? "for a connection to open" : "in the queue for one of the opens under way";
        var cause = pool.LastConnectError is { } error ? $" Last error: {error.Message}" : " No open has failed: the server is slow to answer.";
        return $"Pool '{pool.Name}' could not connect in time: waited {Duration(waited)} {wait}; {Counts(pool)}.{cause}";
    }

    public static string Closed(PoolSnapshot pool)
        => $"Pool '{pool.Name}' is closed: it was drained or disposed, and serves no more leases.";

    public static string Describe(LeaseHolder holder)
    {
        var label = holder.Label is { } word ? $" '{word}'" : "";
        var backend = holder.BackendProcessId is { } pid ? string.Create(CultureInfo.InvariantCulture, $", pid {pid}") : "";
        return string.Create(
            CultureInfo.InvariantCulture,
            $"lease {holder.LeaseId}{label}, {Duration(holder.Held)}, rented at {Site(holder)}{backend}");
    }

    public static string Site(LeaseHolder holder)
        => string.Create(CultureInfo.InvariantCulture, $"{holder.File}:{holder.Line} ({holder.Member})");

    public static string Duration(TimeSpan time) => time switch
    {
        { TotalMilliseconds: < 1000 } => string.Create(CultureInfo.InvariantCulture, $"{time.TotalMilliseconds:0} ms"),
        { TotalSeconds: < 60 } => string.Create(CultureInfo.InvariantCulture, $"{time.TotalSeconds:0.0} s"),
        { TotalMinutes: < 60 } => string.Create(CultureInfo.InvariantCulture, $"{(int)time.TotalMinutes} min {time.Seconds} s"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{(int)time.TotalHours} h {time.Minutes} min"),
    };

    private static string Counts(PoolSnapshot pool)
    {
        var quarantined = pool.Quarantined > 0 ? string.Create(CultureInfo.InvariantCulture, $", {pool.Quarantined} quarantined") : "";
        return string.Create(
            CultureInfo.InvariantCulture,
            $"{pool.Leased} of {pool.MaxSize} leased, {pool.Idle} idle, {pool.Opening} opening{quarantined}, {pool.Waiting} waiting");
    }

    private static string Longest(PoolSnapshot pool)
    {
        if (pool.Holders.IsEmpty)
        {
            return "";
        }

        var (site, count) = MostCommonSite(pool);
        var crowd = count > 1 ? string.Create(CultureInfo.InvariantCulture, $" {count} of them were rented at {site}.") : "";
        return $"{crowd} Longest held: {Describe(pool.Holders[0])}.";
    }

    private static (string Site, int Count) MostCommonSite(PoolSnapshot pool)
    {
        var crowd = pool.Holders.GroupBy(Site).MaxBy(group => group.Count())!;
        return (crowd.Key, crowd.Count());
    }
}
