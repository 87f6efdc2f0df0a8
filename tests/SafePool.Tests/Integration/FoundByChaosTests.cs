using System.Runtime.CompilerServices;
using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Poolers;
using Xunit;

namespace SafePool.Tests.Integration;

/// <summary>What tests/SafePool.ChaosTests has found, each in its smallest form.</summary>
public sealed class FoundByChaosTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    /// <summary>Such a place counts as idle; whoever takes it finds nothing there, and nobody counts the connection as closed.</summary>
    [Fact]
    public async Task TotalClosed_ConnectionBrokeAndItsUserClosedIt_CountsIt()
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1);
        await using (var lease = await server.Pool.RentAsync(Cancellation))
        {
            await server.TerminateAsync(lease.Session());
            await Assert.ThrowsAnyAsync<NpgsqlException>(() => lease.DoAsync("SELECT 1"));
            await lease.Connection.CloseAsync();
        }

        await using (var next = await server.Pool.RentAsync(Cancellation))
        {
            await next.DoAsync("SELECT 1");
        }

        Assert.Equal((2, 1, 1), (server.Snapshot.TotalOpened, server.Snapshot.TotalClosed, server.Snapshot.Idle));
    }

    /// <summary>
    /// Npgsql throws when the state of a connection is read in the moment in which it is closed for good, here because it is older than a clear. Whoever takes a picture of the pool reads the
    /// states of other flows' connections: also the scan for leaks, and rents that run out of time, which then fail with an error of Npgsql's insides.
    /// </summary>
    [Fact]
    public async Task GetSnapshot_WhileUsersCloseTheirConnectionsAfterAClear_NeverThrows()
    {
        await using var server = await PoolOnServer.CreateAsync(options =>
        {
            // Those who look on leave little of the machine to those who connect.
            (options.MaxSize, options.AcquireTimeout, options.ConnectTimeout) = (2, TimeSpan.FromMinutes(2), TimeSpan.FromMinutes(1));
        });
        var isOver = false;
        var looking = Enumerable.Range(0, 2).Select(_ => Task.Run(LookOn, Cancellation)).ToArray();

        for (var round = 0; round < 300 && !looking.Any(look => look.IsCompleted); round++)
        {
            var connection = await server.Pool.OpenConnectionAsync(Cancellation);
            server.Pool.Clear();
            await connection.CloseAsync();
        }

        Volatile.Write(ref isOver, true);
        await Task.WhenAll(looking);

        void LookOn()
        {
            while (!Volatile.Read(ref isOver))
            {
                _ = server.Pool.GetSnapshot();
            }
        }
    }

    /// <summary>Queueing, opening and probing share one budget (design decision D5), and so must whatever else a rent says to the server.</summary>
    [Theory]
    [InlineData("a cancel to absorb")]
    [InlineData("a statement timeout to set")]
    public async Task RentAsync_WordsWithAServerThatFellSilent_KeepTheBudget(string words)
    {
        await using var proxy = TcpProxy.Start(await Outside.SharedServerAsync());
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1, proxy: proxy);
        var lease = await server.Pool.RentAsync(Cancellation);
        var running = lease.DoAsync(words == "a cancel to absorb" ? "SELECT pg_sleep(60)" : "SELECT 1");
        if (words == "a cancel to absorb")
        {
            await Eventually.True(async () => await server.ActivityAsync(lease.Session()) == "active", "the command runs");
        }

        await lease.DisposeAsync();
        proxy.Stall();
        var budget = TimeSpan.FromMilliseconds(100);
        var statementTimeout = words == "a statement timeout to set" ? TimeSpan.FromSeconds(1) : default(TimeSpan?);

        var from = TimeProvider.System.GetTimestamp();
        await Assert.ThrowsAnyAsync<Exception>(
            async () => await server.Pool.RentAsync(new RentOptions { AcquireTimeout = budget, StatementTimeout = statementTimeout }, Cancellation));

        // Far beyond what a busy machine adds, and far below what the server's silence costs.
        var took = TimeProvider.System.GetElapsedTime(from);
        Assert.True(took < TimeSpan.FromSeconds(1.5), $"took {took.TotalMilliseconds:0} ms");
        proxy.ResetAll();
        proxy.Resume();
        await Record.ExceptionAsync(() => running);
    }

    /// <summary>A connection that is too old is retired by way of the server. The rent that met it need not wait for that.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task RentAsync_ConnectionTooOldOnAServerThatFellSilent_KeepsTheBudget(bool blocking)
    {
        await using var proxy = TcpProxy.Start(await Outside.SharedServerAsync());
        await using var server = await PoolOnServer.CreateAsync(
            options => (options.MaxSize, options.MaxLifetime, options.ProbeAfterQuiet, options.WatchServer) = (4, TimeSpan.FromSeconds(1), Timeout.InfiniteTimeSpan, false),
            proxy: proxy);
        var leases = await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => server.Pool.RentAsync(Cancellation).AsTask()));
        foreach (var lease in leases)
        {
            await lease.DisposeAsync();
        }

        proxy.Stall();

        // The sweep has taken the first of them then, and waits for the server; the others are too old as well by the time it comes to them.
        await Eventually.True(() => server.Snapshot.Idle < 4, "one is too old");
        await Task.Delay(TimeSpan.FromMilliseconds(300), TimeProvider.System, Cancellation);
        var rent = new RentOptions { AcquireTimeout = TimeSpan.FromMilliseconds(100) };
        var from = TimeProvider.System.GetTimestamp();
        await Record.ExceptionAsync(async () => (blocking ? server.Pool.Rent(rent) : await server.Pool.RentAsync(rent, Cancellation)).Dispose());

        var took = TimeProvider.System.GetElapsedTime(from);
        Assert.True(took < TimeSpan.FromSeconds(1.5), $"took {took.TotalMilliseconds:0} ms");
        proxy.ResetAll();
        proxy.Resume();
    }

    /// <summary>A session that died unseen is no reason to fail where a probe would have found it out: another one will do.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task RentAsync_TimeoutToSetOnASessionThatHasDied_GetsAnother(bool blocking)
    {
        await using var server = await PoolOnServer.CreateAsync(
            options => (options.MaxSize, options.WatchServer, options.ProbeAfterQuiet, options.ProbeAfterIdle) = (1, false, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan));
        await using (var first = await server.Pool.RentAsync(Cancellation))
        {
            await server.TerminateAsync(first.Session());
        }

        var rent = new RentOptions { StatementTimeout = TimeSpan.FromSeconds(5) };
        await using var lease = blocking ? server.Pool.Rent(rent) : await server.Pool.RentAsync(rent, Cancellation);

        await lease.DoAsync("SELECT 1");
        Assert.Equal((2, 1), (server.Snapshot.TotalOpened, server.Snapshot.TotalClosed));
    }

    /// <summary>Npgsql keeps the reader of a connection for the next command, and with it the connection object of a drop-in that was closed long ago. That must not keep the handle of its slot.</summary>
    [Fact]
    public async Task RentAsync_LeaseLostWhereADropInWas_IsFound()
    {
        await using var server = await PoolOnServer.CreateAsync(options => (options.MaxSize, options.ProbeAfterQuiet) = (1, Timeout.InfiniteTimeSpan));
        await using (var dropIn = await server.Pool.OpenConnectionAsync(Cancellation))
        {
            await dropIn.DoAsync("SELECT 1");
        }

        await LoseAsync(server.Pool);

        await Eventually.True(
            () =>
            {
                GC.Collect();
                GC.WaitForPendingFinalizers();
                return server.Snapshot is { Leased: 0, TotalReclaimed: 1 };
            },
            "it is taken back");

        [MethodImpl(MethodImplOptions.NoInlining)]
        static async Task LoseAsync(ConnectionPool pool) => _ = await pool.RentAsync(Cancellation);
    }

    /// <summary>A hook that talks over a connection which has just broken hears from Npgsql that it is not open. That is an outage, not a mistake of the hook's.</summary>
    [Fact]
    public async Task RentAsync_ConnectionBreaksBeforeItsHookTalks_IsTriedAgain()
    {
        var isFirst = true;
        await using var server = await PoolOnServer.CreateAsync(options => (options.MaxSize, options.PhysicalConnectionOpened) = (1, BreakFirstAsync));

        await using var lease = await server.Pool.RentAsync(Cancellation);

        await lease.DoAsync("SELECT 1");
        Assert.False(isFirst);

        async ValueTask BreakFirstAsync(NpgsqlConnection connection, CancellationToken cancellationToken)
        {
            if (isFirst)
            {
                isFirst = false;
                await Record.ExceptionAsync(() => connection.DoAsync("SELECT pg_terminate_backend(pg_backend_pid())"));
            }

            await connection.DoAsync("SELECT 1");
        }
    }

    /// <summary>A drop-in gives its place back when it closes. One that was broken before anybody listened never tells, and its place is lost for good.</summary>
    [Fact]
    public async Task OpenConnectionAsync_ConnectionBrokeBeforeItWasHandedOut_GivesThePlaceBack()
    {
        await using var server = await PoolOnServer.CreateAsync(options => (options.MaxSize, options.LeaseRented) = (1, BreakAsync));

        await Record.ExceptionAsync(async () => await (await server.Pool.OpenConnectionAsync(Cancellation)).DisposeAsync());

        await Outstanding.NoneAsync(server.Pool, TimeSpan.FromSeconds(3));

        static async ValueTask BreakAsync(NpgsqlConnection connection, CancellationToken cancellationToken)
            => await Record.ExceptionAsync(() => connection.DoAsync("SELECT pg_terminate_backend(pg_backend_pid())"));
    }

    /// <summary>Callers who block do not wait for those who need a thread of the pool. For each other they do: one survey is under way, not one for each.</summary>
    [Fact]
    public async Task Rent_FromSeveralThreadsBehindAPoolerAtFirst_TakesOneSurveyForAll()
    {
        const int Size = 4;
        await using var gateway = await Gateway.BouncerAsync(PoolMode.Session);
        await using var proxy = TcpProxy.Start(gateway.ConnectionString);
        proxy.Delay = TimeSpan.FromMilliseconds(20);
        await using var pooled = await gateway.PoolAsync(options => (options.MaxSize, options.WatchServer) = (Size, false), text => text.Port = proxy.Port);

        var leases = await Task.WhenAll(Enumerable.Range(0, Size).Select(_ => Task.Factory.StartNew(() => pooled.Pool.Rent(), TaskCreationOptions.LongRunning)));

        Assert.InRange(proxy.PeakConnections, Size, Size + 1);
        foreach (var lease in leases)
        {
            lease.Dispose();
        }
    }
}
