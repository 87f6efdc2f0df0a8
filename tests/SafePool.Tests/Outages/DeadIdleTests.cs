using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.Outages;

/// <summary>Connections that ended at rest: nobody who rents is to meet one (design decision D10).</summary>
public sealed class DeadIdleTests
{
    private const int MaxSize = 6;

    private static readonly TimeSpan _quiet = TimeSpan.FromMilliseconds(250);

    // That, two ticks of maintenance, and what a busy machine adds.
    private static readonly TimeSpan _longerThanQuiet = TimeSpan.FromSeconds(1.5);

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(SessionReset.Rollback, false)]
    [InlineData(SessionReset.Rollback, true)]
    [InlineData(SessionReset.Full, false)]
    [InlineData(SessionReset.Strict, true)]
    [Trait("Conformance", "50")]
    [Trait("Conformance", "53")]
    public async Task Burst_AfterAQuietTimeInWhichAllEnded_MeetsNoDeadConnection(SessionReset reset, bool blocking)
    {
        await using var server = await PoolOnServer.CreateAsync(options =>
        {
            (options.MaxSize, options.WatchServer, options.Reset) = (MaxSize, false, reset);
            (options.ProbeAfterQuiet, options.AcquireTimeout) = (_quiet, TimeSpan.FromSeconds(30));
        });
        await server.Pool.FillAsync(MaxSize, Cancellation);
        var dead = await server.SessionsAsync();
        await server.TerminateAllAsync();
        await OutageKit.PassAsync(_longerThanQuiet, Cancellation);

        var alive = blocking
            ? await Task.WhenAll(Enumerable.Range(0, MaxSize).Select(_ => Task.Factory.StartNew(
                () => UseBlocking(server), Cancellation, TaskCreationOptions.LongRunning, TaskScheduler.Default)))
            : await server.BurstAsync(MaxSize, Cancellation);

        Assert.Equal(MaxSize, dead.Length);
        Assert.Empty(alive.Intersect(dead));
        Assert.Equal((0L, MaxSize), (server.Snapshot.TotalTimeouts, (int)server.Snapshot.TotalClosed));
        await Outstanding.NoneAsync(server.Pool);
    }

    [Fact]
    [Trait("Conformance", "50")]
    public async Task Burst_AfterAllEndedWhileOneWatches_MeetsNoDeadConnectionWithoutAnyProbe()
    {
        await using var server = await CreateUnprobedAsync();
        await server.Pool.FillAsync(MaxSize, Cancellation);
        await server.WatchingAsync();
        var dead = await server.SessionsAsync();

        await server.TerminateAllAsync();

        await Eventually.True(() => server.Logged(OutageKit.ServerLost) == 1 && server.Snapshot.Idle == 0, "everything idle is retired");
        Assert.Empty((await server.BurstAsync(MaxSize, Cancellation)).Intersect(dead));
        Assert.Equal(MaxSize, server.Snapshot.TotalClosed);
    }

    /// <summary>Npgsql ends all that is idle beside a connection that breaks, which nothing can prevent; what is leased works on until it comes back.</summary>
    [Fact]
    public async Task TheOneThatWatches_EndedAlone_HarmsNobodyAndAnotherOneWatches()
    {
        await using var server = await CreateUnprobedAsync();
        await server.Pool.FillAsync(MaxSize, Cancellation);
        await using var held = await server.Pool.RentAsync(Cancellation);
        await held.DoAsync("CREATE TEMP TABLE kept AS SELECT 7 AS number");
        var watching = await server.WatchingAsync();

        await server.TerminateAsync(watching);

        await Eventually.True(() => server.Logged(OutageKit.ServerLost) == 1, "the loss is heard");
        await server.BurstAsync(MaxSize - 1, Cancellation);
        Assert.Equal(7, await held.AskAsync<int>("SELECT number FROM kept"));
        Assert.Equal(CircuitState.Closed, server.Snapshot.Circuit);

        // It listens again.
        await server.TerminateAsync(await server.WatchingAsync(other: watching));
        await Eventually.True(() => server.Logged(OutageKit.ServerLost) == 2, "the second loss is heard too");
    }

    /// <summary>57P05. The one that watches is idle like the others.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    [Trait("Conformance", "50")]
    public async Task IdleSessionTimeout_OfTheServerEndsEverything_NobodyMeetsADeadConnection(bool watches)
    {
        var outside = await Outside.OfSharedServerAsync();
        if (await outside.AskAsync<bool>("SELECT current_setting('server_version_num')::int < 140000"))
        {
            // It came with PostgreSQL 14.
            await Assert.ThrowsAsync<PostgresException>(() => outside.DoAsync("SET idle_session_timeout = '1s'"));
            return;
        }

        var role = $"itest_idle_{Guid.NewGuid():N}";
        await outside.DoAsync($"CREATE ROLE {role} LOGIN; ALTER ROLE {role} SET idle_session_timeout = '1s'");
        await using (var server = await PoolOnServer.CreateAsync(
            options =>
            {
                (options.MaxSize, options.WatchServer, options.Reset) = (MaxSize, watches, SessionReset.Rollback);
                options.ProbeAfterQuiet = watches ? Timeout.InfiniteTimeSpan : _quiet;
            },
            text => text.Username = role))
        {
            await server.Pool.FillAsync(MaxSize, Cancellation);
            if (watches)
            {
                await server.WatchingAsync();
            }

            await Eventually.True(
                async () => (await server.SessionsAsync()).Length == 0 && (await server.ControlAsync()).Length == 0, "the server has ended everything");
            if (watches)
            {
                await Eventually.True(() => server.Snapshot.Idle == 0, "the one that watches has told it");
            }

            await server.BurstAsync(MaxSize, Cancellation);
            Assert.Equal((MaxSize, CircuitState.Closed), ((int)server.Snapshot.TotalClosed, server.Snapshot.Circuit));
        }

        await Eventually.True(async () => await DropAsync(outside, role), "the role can be dropped");
    }

    private static async Task<bool> DropAsync(Outside outside, string role)
    {
        await outside.DoAsync($"DROP ROLE {role}");
        return true;
    }

    private static int UseBlocking(PoolOnServer server)
    {
        using var lease = server.Pool.Rent();
        return lease.Ask<int>("SELECT pg_backend_pid() FROM pg_sleep(0.05)");
    }

    /// <summary>What finds out is the watch and nothing else.</summary>
    private static Task<PoolOnServer> CreateUnprobedAsync()
        => PoolOnServer.CreateAsync(options =>
        {
            options.MaxSize = MaxSize;
            options.AcquireTimeout = TimeSpan.FromSeconds(30);
            options.ProbeAfterIdle = options.ProbeAfterQuiet = Timeout.InfiniteTimeSpan;
        });
}
