using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;

namespace SafePool.Tests.Outages;

/// <summary>Words for what happens to servers, and for what a pool is to do about it.</summary>
internal static class OutageKit
{
    public const int QuarantineEnded = 113;
    public const int Broken = 125;
    public const int OpensFail = 127;
    public const int CircuitOpened = 128;
    public const int CircuitClosed = 129;
    public const int ServerLost = 131;
    public const int ProbeFailed = 132;
    public const int ServerFull = 133;
    public const int ServerHasRoom = 134;
    public const int TooManyExpected = 135;

    /// <summary>The session of the pool's control connection, of which there is one at most; null when there is none.</summary>
    public static async Task<int?> ControlAsync(this PoolOnServer server)
        => await server.AskAsync<int[]>(
            $"SELECT coalesce(array_agg(pid), '{{}}') FROM pg_stat_activity WHERE application_name = '{server.ApplicationName} (SafePool control)'") switch
        {
            [] => null,
            [var session] => session,
            var several => throw new InvalidOperationException($"{several.Length} control connections"),
        };

    /// <summary>Waits until the control connection listens: its first words were answered, and it rests.</summary>
    public static async Task<int> WatchingAsync(this PoolOnServer server, int? other = null)
    {
        int? control = null;
        await Eventually.True(async () => (control = await server.ControlAsync()) is not null && control != other, "the control connection is open");

        // Of a session the server knows from the moment in which it lets it in; the pool hears of that a little later.
        await Eventually.True(async () => await server.ActivityAsync(control!.Value) == "idle", "the control connection rests");
        return control!.Value;
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

    /// <summary>Ends every session of the pool's own, and the control connection's too if wanted, as an administrator would; returns when they have ended.</summary>
    public static Task TerminateAllAsync(this PoolOnServer server, bool control)
        => server.TerminateAsync(
            $"application_name IN ('{server.ApplicationName}', '{(control ? $"{server.ApplicationName} (SafePool control)" : server.ApplicationName)}')");

    /// <summary>How many lines of one kind there are.</summary>
    public static int Logged(this PoolOnServer server, int kind) => server.Logs.Entries.Count(entry => entry.EventId.Id == kind);

    /// <summary>Lets real time pass, where a test is about nothing happening for a while.</summary>
    public static Task PassAsync(TimeSpan time, CancellationToken cancellationToken) => Task.Delay(time, TimeProvider.System, cancellationToken);
}
