using Npgsql;
using System.Runtime.CompilerServices;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Integration;

public sealed class CloseTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    [Trait("Conformance", "69")]
    public async Task DrainAsync_LeasesOut_WaitsForThemAndThenReportsNobody()
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 3);
        var leases = await server.Pool.RentAsync(2, Cancellation);

        var draining = server.Pool.DrainAsync(TimeSpan.FromSeconds(30), Cancellation);
        await leases[0].DisposeAsync();
        Assert.False(draining.IsCompleted);
        Assert.Equal(1, await leases[1].AskAsync<int>("SELECT 1"));
        await leases[1].DisposeAsync();

        var report = await draining;
        Assert.True(report.Drained);
        Assert.Empty(report.Remaining);
        await server.SessionsBecomeAsync(0);
    }

    [Fact]
    [Trait("Conformance", "69")]
    public async Task DrainAsync_OutOfPatience_NamesWhoIsLeftWithMemberFileAndLine()
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 3);
        var line = Here() + 1;
        var lease = await server.Pool.RentAsync(new RentOptions { Label = "stubborn" }, Cancellation);

        var report = await server.Pool.DrainAsync(TimeSpan.FromMilliseconds(50), Cancellation);

        Assert.False(report.Drained);
        Assert.True(report.Elapsed >= TimeSpan.FromMilliseconds(45));
        var holder = Assert.Single(report.Remaining);
        Assert.Equal(
            (nameof(DrainAsync_OutOfPatience_NamesWhoIsLeftWithMemberFileAndLine), "CloseTests.cs", line, "stubborn"),
            (holder.Member, holder.File, holder.Line, holder.Label));
        Assert.Equal((lease.Id, lease.Session()), (holder.LeaseId, holder.BackendProcessId));
        await lease.DisposeAsync();
    }

    [Fact]
    [Trait("Conformance", "68")]
    public async Task Close_WithWaitersOfBothKinds_FailsThemPromptly()
    {
        var server = await PoolOnServer.CreateAsync(options => (options.MaxSize, options.AcquireTimeout) = (1, TimeSpan.FromMinutes(5)));
        var lease = await server.Pool.RentAsync(Cancellation);
        var waiting = server.Pool.RentAsync(Cancellation).AsTask();
        var blocked = Task.Factory.StartNew(() => server.Pool.Rent(), Cancellation, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        await Eventually.True(() => server.Snapshot.Waiting == 2, "two wait");

        await server.DisposeAsync();

        await Assert.ThrowsAsync<PoolClosedException>(() => waiting.WaitAsync(TimeSpan.FromSeconds(5), TimeProvider.System, Cancellation));
        await Assert.ThrowsAsync<PoolClosedException>(() => blocked.WaitAsync(TimeSpan.FromSeconds(5), TimeProvider.System, Cancellation));
        await lease.DisposeAsync();
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    [Trait("Conformance", "70")]
    public async Task Return_AfterClose_EndsTheSessionOnTheServer(bool blocking)
    {
        var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 3);
        var leases = await server.Pool.RentAsync(2, Cancellation);
        await server.DisposeAsync();
        Assert.Equal(1, await leases[0].AskAsync<int>("SELECT 1"));

        foreach (var lease in leases)
        {
            if (blocking)
            {
                lease.Dispose();
            }
            else
            {
                await lease.DisposeAsync();
            }
        }

        await server.SessionsBecomeAsync(0);
        Assert.Equal((0, 0), (server.Snapshot.Leased, server.Snapshot.Idle));
    }

    [Fact]
    [Trait("Conformance", "70")]
    public async Task Return_BusyAndAfterClose_EndsTheSessionOnTheServer()
    {
        var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 3);
        var lease = await server.Pool.RentAsync(Cancellation);
        var reader = await lease.CreateCommand("SELECT generate_series(1, 100000000)").ExecuteReaderAsync(Cancellation);
        Assert.True(await reader.ReadAsync(Cancellation));
        await server.DisposeAsync();

        await lease.DisposeAsync().AsTask().WaitAsync(TimeSpan.FromSeconds(8), TimeProvider.System, Cancellation);

        await server.SessionsBecomeAsync(0);
        Assert.Equal(0, server.Snapshot.Leased);
    }

    [Fact]
    [Trait("Conformance", "67")]
    public async Task Close_ByManyInEveryWayAtOnce_ClosesOnceAndThrowsNothing()
    {
        var server = await PoolOnServer.CreateAsync(options => (options.MaxSize, options.MinSize) = (4, 2));
        await server.Pool.FillAsync(4, Cancellation);

        await Task.WhenAll(Enumerable.Range(0, 12).Select(i => Task.Run(
            async () =>
            {
                switch (i % 3)
                {
                    case 0:
                        await server.Pool.DisposeAsync();
                        break;
                    case 1:
                        server.Pool.Dispose();
                        break;
                    default:
                        Assert.True((await server.Pool.DrainAsync(TimeSpan.FromSeconds(10), Cancellation)).Drained);
                        break;
                }
            },
            Cancellation)));
        server.Pool.Clear();
        await server.Pool.DisposeAsync();

        await server.SessionsBecomeAsync(0);
        Assert.Equal((0, 0, 4L), (server.Snapshot.Leased, server.Snapshot.Idle, server.Snapshot.TotalClosed));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(60)]
    [InlineData(130)]
    [Trait("Conformance", "72")]
    [Trait("Conformance", "74")]
    public async Task Close_DuringWarmUp_LeavesNothingRunning(int milliseconds)
    {
        await using var proxy = TcpProxy.Start(await Outside.SharedServerAsync());
        proxy.AcceptDelay = TimeSpan.FromMilliseconds(40);
        var clock = new ManualTimeProvider();
        var server = await PoolOnServer.CreateAsync(
            options => (options.MinSize, options.MaxSize, options.MaxConcurrentOpens) = (10, 10, 2), clock: clock, proxy: proxy);
        var warmUp = server.Pool.WarmUpAsync(Cancellation);
        await Task.Delay(TimeSpan.FromMilliseconds(milliseconds), TimeProvider.System, Cancellation);

        await server.DisposeAsync();

        await Assert.ThrowsAsync<PoolClosedException>(() => warmUp);
        await Eventually.True(() => server.Snapshot is { Opening: 0, Idle: 0 } && proxy.OpenConnections == 0, "no connection is left");
        await server.SessionsBecomeAsync(0);
        Assert.Equal(0, clock.ActiveTimers);
        Assert.True((await server.Pool.DrainAsync(TimeSpan.FromSeconds(5), Cancellation)).Drained);
    }

    [Fact]
    [Trait("Conformance", "104")]
    public async Task Pool_DroppedWithoutBeingClosed_IsCollectedAndStopsItsTimer()
    {
        var clock = new ManualTimeProvider();
        var pool = await UseAndDropAsync(clock);

        // A rent has waited, and kept it until a tick found nobody.
        clock.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal(1, clock.ActiveTimers);

        await Eventually.True(
            () =>
            {
                GC.Collect();
                GC.WaitForPendingFinalizers();
                return !pool.IsAlive;
            },
            "the pool is collected");

        clock.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal(0, clock.ActiveTimers);
    }

    [Fact]
    [Trait("Conformance", "104")]
    public async Task Pool_DroppedWithoutBeingClosed_LeavesNoSessionOnTheServer()
    {
        var text = new NpgsqlConnectionStringBuilder(await Outside.SharedServerAsync()) { ApplicationName = $"dropped-{Guid.NewGuid():N}" };
        await UseAndDropAsync(text.ConnectionString);
        var outside = new Outside(await Outside.SharedServerAsync());

        await Eventually.True(
            async () =>
            {
                GC.Collect();
                GC.WaitForPendingFinalizers();
                return await outside.AskAsync<long>(
                    $"SELECT count(*) FROM pg_stat_activity WHERE application_name = '{text.ApplicationName}'") == 0;
            },
            "its idle session is closed");
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static async Task UseAndDropAsync(string connectionString)
    {
        var pool = ConnectionPool.Create(connectionString);
        await (await pool.RentAsync(Cancellation)).DisposeAsync();
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static async Task<WeakReference> UseAndDropAsync(ManualTimeProvider clock)
    {
        var pool = new ConnectionPool(new ConnectionPoolOptions { ConnectionString = await Outside.SharedServerAsync(), MaxSize = 1 }, null, clock);
        await (await pool.RentAsync(Cancellation)).DisposeAsync();
        var held = await pool.RentAsync(Cancellation);
        var waiting = pool.RentAsync(Cancellation).AsTask();
        await held.DisposeAsync();
        await (await waiting).DisposeAsync();
        return new WeakReference(pool);
    }

    private static int Here([CallerLineNumber] int line = 0) => line;
}
