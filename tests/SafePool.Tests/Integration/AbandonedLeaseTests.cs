using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Leaks;
using Xunit;

namespace SafePool.Tests.Integration;

/// <summary>Leases that are taken away by force, on a server: what becomes of the session, of its holder, and of everybody else.</summary>
public sealed class AbandonedLeaseTests : IAsyncDisposable
{
    private static readonly TimeSpan _patience = TimeSpan.FromMinutes(1);

    private readonly ManualTimeProvider _clock = new();
    private readonly List<PoolOnServer> _servers = [];

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    [Trait("Conformance", "88")]
    public async Task Lease_Idle_ItsSessionEndsAndTheWaiterGetsAnother()
    {
        var server = await CreateAsync(1);
        var lease = await server.Pool.RentAsync(Cancellation);
        var kept = lease.Connection;
        var session = kept.ProcessID;

        await using var next = await AbandonAsync(server);

        Assert.NotEqual(session, next.Session());
        await server.SessionsBecomeAsync(1);
        Assert.Throws<LeaseAbandonedException>(() => lease.Connection);
        await Assert.ThrowsAsync<ObjectDisposedException>(() => kept.OpenAsync(Cancellation));
        await Assert.ThrowsAnyAsync<InvalidOperationException>(() => kept.AskAsync<int>("SELECT 1"));
        await lease.DisposeAsync();
        Assert.Equal(1, await next.AskAsync<int>("SELECT 1"));
        Assert.Equal((1, 1L, 2L), (server.Snapshot.Leased, server.Snapshot.TotalReclaimed, server.Snapshot.TotalOpened));
    }

    [Fact]
    public async Task Lease_IdleInTransaction_ItsWorkIsRolledBack()
    {
        var server = await CreateAsync(1);
        var table = $"abandoned_{Guid.NewGuid():N}";
        await using (var setup = await server.Pool.RentAsync(Cancellation))
        {
            await setup.DoAsync($"CREATE TABLE {table} (id int)");
        }

        var lease = await server.Pool.RentAsync(Cancellation);
        await using var transaction = await lease.BeginTransactionAsync(cancellationToken: Cancellation);
        await lease.DoAsync($"INSERT INTO {table} VALUES (1)");
        var session = lease.Session();

        await using var next = await AbandonAsync(server);

        await Eventually.True(async () => await server.ActivityAsync(session) == "gone", "its session is gone");
        Assert.Equal(0L, await next.AskAsync<long>($"SELECT count(*) FROM {table}"));
        Assert.Contains("idle in a transaction", server.Logs.Said(LeakKit.Leak)[1], StringComparison.Ordinal);
        await Assert.ThrowsAnyAsync<InvalidOperationException>(() => transaction.CommitAsync(Cancellation));
        Assert.Equal(0L, await next.AskAsync<long>($"SELECT count(*) FROM {table}"));
        await next.DoAsync($"DROP TABLE {table}");
    }

    [Fact]
    public async Task Lease_WithARunningCommandThatMayBeTerminated_TheCommandIsCancelled()
    {
        var server = await CreateAsync(1, options => (options.Leaks.TerminateRunning, options.Leaks.BusyThreshold) = (true, options.Leaks.Threshold));
        var lease = await server.Pool.RentAsync(Cancellation);
        var session = lease.Session();
        var running = lease.DoAsync("SELECT pg_sleep(600)");

        await using var next = await AbandonAsync(server);

        var cancelled = await Assert.ThrowsAnyAsync<OperationCanceledException>(() => running);
        Assert.Equal(PostgresErrorCodes.QueryCanceled, Assert.IsType<PostgresException>(cancelled.InnerException).SqlState);
        await Eventually.True(async () => await server.ActivityAsync(session) == "gone", "its session is gone");
        Assert.Equal(1, await next.AskAsync<int>("SELECT 1"));
        Assert.Throws<LeaseAbandonedException>(() => lease.Connection);
    }

    [Fact]
    public async Task Lease_WithARunningCommandThatMayNotBeTerminated_IsLeftAlone()
    {
        var server = await CreateAsync(1);
        await using var lease = await server.Pool.RentAsync(Cancellation);
        var running = lease.DoAsync("SELECT pg_sleep(600)");
        var waiting = server.Pool.RentAsync(new RentOptions { AcquireTimeout = TimeSpan.FromHours(1) }, Cancellation).AsTask();

        _clock.Advance(TimeSpan.FromMinutes(30));

        Assert.Equal((1, 0L), (server.Snapshot.Waiting, server.Snapshot.TotalReclaimed));
        Assert.Equal("active", await server.ActivityAsync(lease.Session()));
        lease.Cancel();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => running);
        await lease.DisposeAsync();
        await (await waiting).DisposeAsync();
    }

    [Fact]
    public async Task DropInConnection_Idle_ItsHolderGetsNpgsqlsErrorAndNeverTheNextSession()
    {
        var server = await CreateAsync(1);
        var connection = await server.Pool.OpenConnectionAsync(Cancellation);
        var session = connection.ProcessID;
        await using var command = new NpgsqlCommand("SELECT pg_backend_pid()", connection);
        Assert.Equal(session, await command.ExecuteScalarAsync(Cancellation));

        await using var next = await AbandonAsync(server);

        await Assert.ThrowsAnyAsync<InvalidOperationException>(() => command.ExecuteScalarAsync(Cancellation));

        // Some libraries open what they find closed. Past the pool, that would be a connection too many.
        await Assert.ThrowsAsync<ObjectDisposedException>(() => connection.OpenAsync(Cancellation));
        Assert.Throws<ObjectDisposedException>(connection.Open);
        await connection.CloseAsync();
        await connection.DisposeAsync();
        Assert.Equal(next.Session(), await next.AskAsync<int>("SELECT pg_backend_pid()"));
        Assert.Equal((1, 1L), (server.Snapshot.Leased, server.Snapshot.TotalReclaimed));
        Assert.Empty(server.Logs.Said(LeakKit.ReturnedAfterAll));
        await server.SessionsBecomeAsync(1);
    }

    /// <summary>An idle session is ended by itself: the others, at rest or in use, do not notice.</summary>
    [Fact]
    public async Task Lease_IdleAmongOthers_CostsTheOthersNothing()
    {
        var server = await CreateAsync(4);
        var quiet = await server.Pool.RentAsync(Cancellation);
        var others = await server.Pool.RentAsync(3, Cancellation);
        var sessions = others.Select(other => other.Session()).Order().ToArray();
        _clock.Advance(_patience - TimeSpan.FromSeconds(10));
        Array.ForEach(others, other => other.Do("SELECT 1"));

        await using (var next = await AbandonAsync(server, TimeSpan.FromSeconds(10)))
        {
            await others.ReturnAllAsync();
            await using var again = await server.Pool.RentAsync(Cancellation);
            Assert.Contains(again.Session(), sessions);
        }

        Assert.Equal(sessions, sessions.Intersect(await server.SessionsAsync()).Order());
        Assert.Equal((5L, 1L), (server.Snapshot.TotalOpened, server.Snapshot.TotalClosed));
        Assert.Throws<LeaseAbandonedException>(() => quiet.Connection);
    }

    /// <summary>
    /// What cannot be cancelled (here: a wait for notifications) is ended by the server. Npgsql takes such a break for the server's end and drops all
    /// its idle connections: they are opened again, a limited number at a time. Leases in use keep their sessions until they come back.
    /// </summary>
    [Fact]
    public async Task Lease_ThatMustBeTerminated_OthersFinishAndAreReplacedAFewAtATime()
    {
        await using var proxy = TcpProxy.Start(await Outside.SharedServerAsync());
        var server = await CreateAsync(
            6,
            options =>
            {
                (options.Leaks.TerminateRunning, options.Leaks.BusyThreshold, options.MaxConcurrentOpens) = (true, options.Leaks.Threshold, 2);
            },
            proxy);
        var stuck = await server.Pool.RentAsync(Cancellation);
        await stuck.DoAsync("LISTEN nothing");
        var session = stuck.Session();
        var waitingForNotifications = stuck.Connection.WaitAsync(Cancellation);
        var others = await server.Pool.RentAsync(5, Cancellation);
        var sessions = others.Select(other => other.Session()).ToArray();
        var waiting = server.Pool.RentAsync(new RentOptions { AcquireTimeout = Timeout.InfiniteTimeSpan }, Cancellation).AsTask();
        _clock.Advance(_patience - TimeSpan.FromSeconds(10));
        Array.ForEach(others, other => other.Do("SELECT 1"));
        proxy.AcceptDelay = TimeSpan.FromMilliseconds(50);

        await using var next = await TickUntilAsync(server, waiting);

        await Assert.ThrowsAnyAsync<NpgsqlException>(() => waitingForNotifications);
        Assert.Equal("gone", await server.ActivityAsync(session));
        Assert.Equal(sessions, others.Select(other => other.Ask<int>("SELECT pg_backend_pid()")));
        var before = proxy.TotalAccepted;
        await others.ReturnAllAsync();
        var fresh = await server.Pool.RentAsync(5, Cancellation);
        Assert.Empty(fresh.Select(lease => lease.Session()).Intersect(sessions));
        Assert.Equal(before + 5, proxy.TotalAccepted);
        Assert.InRange(proxy.PeakConnecting, 1, 2);
        Assert.Equal((6, 0, 1L), (server.Snapshot.Leased, server.Snapshot.Quarantined, server.Snapshot.TotalReclaimed));
        await fresh.ReturnAllAsync();
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var server in _servers)
        {
            await server.DisposeAsync();
        }
    }

    private async Task<PoolOnServer> CreateAsync(int size, Action<ConnectionPoolOptions>? configure = null, TcpProxy? proxy = null)
    {
        var server = await PoolOnServer.CreateAsync(
            options =>
            {
                (options.MaxSize, options.Leaks.AbandonAfter) = (size, _patience);
                configure?.Invoke(options);
            },
            clock: _clock,
            proxy: proxy);
        _servers.Add(server);
        return server;
    }

    private async Task<Lease> AbandonAsync(PoolOnServer server, TimeSpan? after = null)
    {
        var waiting = server.Pool.RentAsync(new RentOptions { AcquireTimeout = Timeout.InfiniteTimeSpan }, Cancellation).AsTask();
        _clock.Advance(after ?? _patience);
        return await TickUntilAsync(server, waiting);
    }

    private async Task<Lease> TickUntilAsync(PoolOnServer server, Task<Lease> rent)
    {
        await Eventually.True(
            () =>
            {
                _clock.Advance(TimeSpan.FromSeconds(0.25));
                return rent.IsCompleted;
            },
            $"the waiter is served: {server.Snapshot}",
            TimeSpan.FromSeconds(30));
        return await rent;
    }
}
