using Npgsql;
using SafePool.Driver;

namespace SafePool;

/// <summary>The names under which pools tell of themselves: to a meter provider, <c>AddMeter(SafePoolTelemetry.MeterName)</c>; to a tracer provider, <c>AddSource(SafePoolTelemetry.ActivitySourceName)</c>.</summary>
/// <remarks>Nobody who listens, nothing that is measured: a pool then reads one flag every quarter of a second.</remarks>
public static class SafePoolTelemetry
{
    /// <summary>The meter of all pools of the process; the attribute <c>db.client.connection.pool.name</c> tells them apart.</summary>
    public const string MeterName = "SafePool";

    /// <summary>The source of spans, for rents that had to wait or for which a connection was opened, and no others.</summary>
    public const string ActivitySourceName = "SafePool";

    /// <summary>Whether a command is one that a pool runs on its own account: such commands have no spans unless <c>ConfigureDataSource</c> sets a filter of its own, which then asks this.</summary>
    /// <param name="command">What a filter of <c>ConfigureTracing</c> was given.</param>
    /// <returns>True for a pool's own.</returns>
    public static bool IsHousekeeping(NpgsqlCommand command)
    {
        ArgumentNullException.ThrowIfNull(command);
        return Housekeeping.IsOurs(command);
    }

    /// <summary>The same for a copy operation.</summary>
    /// <param name="copyCommand">What a filter of <c>ConfigureTracing</c> was given.</param>
    /// <returns>True for a pool's own.</returns>
    public static bool IsHousekeeping(string copyCommand) => Housekeeping.IsOurs(copyCommand);
}
