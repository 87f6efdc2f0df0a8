using System.Runtime.CompilerServices;
using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.Outages;

/// <summary>What the watch and the questions to the server cost: one socket for a moment, and nothing that outlives the pool.</summary>
public sealed class WatchHousekeepingTests
{
    private const int MaxSize = 3;

    private const string Stubborn =
        """
        DO $$ BEGIN LOOP
            BEGIN PERFORM pg_sleep(600); EXCEPTION WHEN query_canceled THEN NULL; END;
        END LOOP; END $$
        """;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    [Trait("Conformance", "3")]
    public async Task Sockets_WhileSessionsAreInspectedCancelledAndTerminated_AreNoMoreThanMaxSizeAndOne()
    {
        await using var proxy = TcpProxy.Start(await Outside.SharedServerAsync());
        await using var server = await PoolOnServer.CreateAsync(
            options =>
            {
                (options.MaxSize, options.AcquireTimeout) = (MaxSize, TimeSpan.FromSeconds(30));
                var soon = TimeSpan.FromMilliseconds(300);
                (options.Leaks.Threshold, options.Leaks.BusyThreshold, options.Leaks.AbandonAfter) = (soon, soon, soon);
                options.Leaks.InspectBackends = options.Leaks.TerminateRunning = true;
            },
            proxy: proxy);
        await server.Pool.FillAsync(MaxSize, Cancellation);
        await server.WatchingAsync();

        for (var round = 0; round < 2; round++)
        {
            // One comes back while its command runs, and one whose COPY only the control connection can cancel.
            var leases = await server.Pool.RentAsync(2, Cancellation);
            var running = leases[0].DoAsync("SELECT pg_sleep(600)");
            var copying = await leases[1].Connection.BeginTextExportAsync("COPY (SELECT generate_series(1, 2000000000)) TO STDOUT", Cancellation);
            await copying.ReadLineAsync(Cancellation);
            await leases.ReturnAllAsync();
            await Assert.ThrowsAnyAsync<Exception>(() => running);

            // Those are inspected and taken away; they do not bear a cancel, so they are terminated.
            leases = await server.Pool.RentAsync(MaxSize, Cancellation);
            var stubborn = leases.Select(lease => lease.DoAsync(Stubborn)).ToArray();
            await Task.WhenAll(Enumerable.Range(0, MaxSize).Select(_ => server.UseAsync(Cancellation)));
            foreach (var command in stubborn)
            {
                await Assert.ThrowsAnyAsync<Exception>(() => command);
            }

            await leases.ReturnAllAsync();
        }

        await Outstanding.NoneAsync(server.Pool);
        await server.BurstAsync(MaxSize, Cancellation);
        Assert.InRange(proxy.PeakConnections, 1, MaxSize + 1);
        Assert.Equal(2L * MaxSize, server.Snapshot.TotalReclaimed);
        await server.WatchingAsync();
        Assert.Equal(0, server.Logged(OutageKit.ServerLost));
    }

    [Theory]
    [InlineData("DisposeAsync")]
    [InlineData("Dispose")]
    [InlineData("DrainAsync and Dispose")]
    [Trait("Conformance", "74")]
    public async Task Close_WhileTheWatchListens_LeavesNoSession(string how)
    {
        await using var proxy = TcpProxy.Start(await Outside.SharedServerAsync());
        var server = await PoolOnServer.CreateAsync(options => (options.MaxSize, options.MinSize) = (MaxSize, 1), proxy: proxy);
        await server.Pool.FillAsync(MaxSize, Cancellation);
        await server.WatchingAsync();

        switch (how)
        {
            case "Dispose":
                server.Pool.Dispose();
                break;
            case "DrainAsync and Dispose":
                Assert.True((await server.Pool.DrainAsync(TimeSpan.FromSeconds(10), Cancellation)).Drained);
                server.Pool.Dispose();
                break;
            default:
                await server.DisposeAsync();
                break;
        }

        await Eventually.True(
            async () => (await server.SessionsAsync()).Length == 0 && (await server.ControlAsync()).Length == 0 && proxy.OpenConnections == 0, "no session is left");
        Assert.Equal(0, server.Logged(OutageKit.ServerLost));
    }

    /// <summary>The watch may be about to be set up, or in the midst of it.</summary>
    [Fact]
    [Trait("Conformance", "72")]
    public async Task Close_WhileTheWatchIsBeingSetUp_LeavesNoSession()
    {
        await using var proxy = TcpProxy.Start(await Outside.SharedServerAsync());
        for (var i = 0; i < 6; i++)
        {
            var server = await PoolOnServer.CreateAsync(options => options.MaxSize = MaxSize, proxy: proxy);
            await server.Pool.FillAsync(1, Cancellation);
            proxy.AcceptDelay = TimeSpan.FromMilliseconds(40);
            await OutageKit.PassAsync(TimeSpan.FromMilliseconds(100 * i), Cancellation);

            await server.DisposeAsync();

            proxy.AcceptDelay = TimeSpan.Zero;
            await Eventually.True(
                async () => (await server.SessionsAsync()).Length == 0 && (await server.ControlAsync()).Length == 0 && proxy.OpenConnections == 0, "no session is left");
        }
    }

    [Fact]
    [Trait("Conformance", "104")]
    public async Task Pool_DroppedWhileTheWatchListens_IsCollectedAndLeavesNoSession()
    {
        var outside = await Outside.OfSharedServerAsync();
        var name = $"dropped-{Guid.NewGuid():N}";
        var pool = await UseAndDropAsync(outside, name);

        await Eventually.True(
            async () =>
            {
                GC.Collect();
                GC.WaitForPendingFinalizers();
                return !pool.IsAlive && await SessionsAsync(outside, name) == 0;
            },
            "it is collected, and its sessions, the one that watches too, have ended",
            TimeSpan.FromSeconds(20));
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static async Task<WeakReference> UseAndDropAsync(Outside outside, string name)
    {
        var text = new NpgsqlConnectionStringBuilder(await Outside.SharedServerAsync()) { ApplicationName = name };
        var pool = ConnectionPool.Create(text.ConnectionString, options => options.MaxSize = MaxSize);
        await pool.FillAsync(MaxSize, Cancellation);
        await Eventually.True(async () => pool.Parts.Gate.HasWatch && await SessionsAsync(outside, name) == MaxSize, "one of them watches");
        return new WeakReference(pool);
    }

    private static Task<long> SessionsAsync(Outside outside, string name)
        => outside.AskAsync<long>($"SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE '{name}%'");
}
