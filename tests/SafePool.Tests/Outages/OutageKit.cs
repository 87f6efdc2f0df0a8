using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;

namespace SafePool.Tests.Outages;

/// <summary>Words for what happens to servers, and for what a pool is to do about it.</summary>
internal static class OutageKit
{
    public const int QuarantineEnded = 113;
    public const int OpenEndedLate = 119;
    public const int OpenFailed = 121;
    public const int Broken = 125;
    public const int OpensFail = 127;
    public const int CircuitOpened = 128;
    public const int CircuitClosed = 129;
    public const int ServerLost = 131;
    public const int ProbeFailed = 132;
    public const int ServerFull = 133;
    public const int ServerHasRoom = 134;
    public const int TooManyExpected = 135;

    /// <summary>The sessions that the pool has beside its own, to ask the server something: none but for a moment.</summary>
    public static Task<int[]> ControlAsync(this PoolOnServer server)
        => server.AskAsync<int[]>(
            $"SELECT coalesce(array_agg(pid), '{{}}') FROM pg_stat_activity WHERE application_name = '{server.ApplicationName} (SafePool control)'");

    /// <summary>Waits until one of the idle connections watches the server.</summary>
    /// <returns>Its session.</returns>
    public static async Task<int> WatchingAsync(this PoolOnServer server, int? other = null)
    {
        int? session = null;
        await Eventually.True(() => (session = server.Pool.Parts.WatchingSession()) is not null && session != other, "a connection watches");
        return session!.Value;
    }

    private static int? WatchingSession(this PoolParts parts)
    {
        foreach (var slot in parts.Ledger.Slots)
        {
            if (slot.Watched is not null && slot.Connection is { } connection && parts.Source.Identify(connection) is { } physical)
            {
                return physical.Identity.ProcessId;
            }
        }

        return null;
    }

    /// <summary>A rent, and a command that proves that the connection lives.</summary>
    public static async Task UseAsync(this PoolOnServer server, CancellationToken cancellationToken)
    {
        await using var lease = await server.Pool.RentAsync(cancellationToken);
        await lease.DoAsync("SELECT 1");
    }

    /// <summary>So many rents at once, each with a command; they all hold their lease until all have one.</summary>
    /// <returns>Their sessions.</returns>
    public static async Task<int[]> BurstAsync(this PoolOnServer server, int rents, CancellationToken cancellationToken)
    {
        var sessions = new int[rents];
        var leases = await server.Pool.RentAsync(rents, cancellationToken);
        for (var i = 0; i < rents; i++)
        {
            sessions[i] = await leases[i].AskAsync<int>("SELECT pg_backend_pid()");
        }

        await leases.ReturnAllAsync();
        return sessions;
    }

    /// <summary>Ends every session of the pool, as an administrator would; returns when they have ended.</summary>
    public static Task TerminateAllAsync(this PoolOnServer server) => server.TerminateAsync($"application_name = '{server.ApplicationName}'");

    /// <summary>How many lines of one kind there are.</summary>
    public static int Logged(this PoolOnServer server, int kind) => server.Logs.Entries.Count(entry => entry.EventId.Id == kind);

    /// <summary>Lets real time pass, where a test is about nothing happening for a while.</summary>
    public static Task PassAsync(TimeSpan time, CancellationToken cancellationToken) => Task.Delay(time, TimeProvider.System, cancellationToken);
}
