using Npgsql;

namespace SafePool.TestKit;

/// <summary>A primary and a hot standby that streams from it, for failover tests. Needs PostgreSQL 12 or later.</summary>
/// <remarks>Asynchronous replication, as by default: what was committed last may not have reached the standby when the primary dies.</remarks>
public sealed class ReplicatedPair : IAsyncDisposable
{
    private ReplicatedPair(PostgresServer primary, PostgresServer standby)
    {
        Primary = primary;
        Standby = standby;
    }

    /// <summary>Gets the server that began as the primary, whatever became of it.</summary>
    public PostgresServer Primary { get; }

    /// <summary>Gets the server that began as the standby, whatever became of it.</summary>
    public PostgresServer Standby { get; }

    /// <summary>Gets how to connect to whichever of the two answers first, in this order. Add <c>Target Session Attributes</c> to choose by role.</summary>
    public string ConnectionString => Over(Primary.Port, Standby.Port);

    /// <summary>Starts both and returns once the standby streams: 0.6 s, and 0.5 s more for the first server of a process.</summary>
    /// <exception cref="InvalidOperationException">There is no PostgreSQL on this machine, or one of the two does not start.</exception>
    public static async Task<ReplicatedPair> StartAsync(
        Action<PostgresServerOptions>? configure = null,
        CancellationToken cancellationToken = default)
    {
        var primary = await PostgresServer.StartAsync(configure, cancellationToken);
        PostgresServer? standby = null;
        try
        {
            standby = await primary.StartStandbyAsync(cancellationToken);
            var pair = new ReplicatedPair(primary, standby);
            await pair.CatchUpAsync();
            return pair;
        }
        catch
        {
            await (standby?.DisposeAsync() ?? ValueTask.CompletedTask);
            await primary.DisposeAsync();
            throw;
        }
    }

    /// <summary>Makes a connection string over two ports of this machine, such as those of two proxies.</summary>
    public static string Over(int firstPort, int secondPort)
        => new NpgsqlConnectionStringBuilder
        {
            Host = $"127.0.0.1:{firstPort},127.0.0.1:{secondPort}",
            Username = "postgres",
            Database = "postgres",
        }.ConnectionString;

    /// <summary>Waits until the standby has replayed everything that the primary has written so far.</summary>
    public async Task CatchUpAsync()
    {
        var written = await Primary.QueryAsync("SELECT pg_current_wal_lsn()::text", CancellationToken.None);
        await Eventually.True(
            async () => await Standby.QueryAsync($"SELECT pg_last_wal_replay_lsn() >= '{written}'", CancellationToken.None) is true,
            "the standby has caught up");
        await Eventually.True(
            async () => await Primary.QueryAsync("SELECT EXISTS (SELECT FROM pg_stat_replication WHERE state = 'streaming')", CancellationToken.None) is true,
            "the standby streams");
    }

    /// <summary>Kills the primary without a word and promotes the standby.</summary>
    public async Task FailOverAsync(CancellationToken cancellationToken = default)
    {
        await Primary.StopAsync(StopMode.Kill);
        await Standby.PromoteAsync(cancellationToken);
    }

    /// <summary>Stops both servers and deletes all that they wrote.</summary>
    public async ValueTask DisposeAsync()
    {
        await Standby.DisposeAsync();
        await Primary.DisposeAsync();
    }
}
