using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;
using SafePool.Driver;
using SafePool.Driver.Hosts;
using SafePool.Driver.Poolers;
using SafePool.Options;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using SafePool.Time;
using Xunit;

namespace SafePool.Tests.Identity;

/// <summary>A name leads to two servers, by turns or since it has moved: nobody on the other one is harmed, and no place is lost.</summary>
public sealed class OneNameTwoServersTests(TwoServers servers) : IClassFixture<TwoServers>
{
    private const int WrittenOff = 146;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    /// <summary>The own session's work is ended by its own server, which answers the second time.</summary>
    [Theory]
    [InlineData("wait")]
    [InlineData("copy")]
    [InlineData("command")]
    public async Task ReturnAsync_WhileBusy_TheControlConnectionLandsOnTheOtherServerFirst_EndsTheOwnWorkOnly(string work)
    {
        await using var scene = await SceneAsync();
        var lease = await scene.Pool.Pool.RentAsync(Cancellation);
        await using var stranger = await Stranger.AtAsync(servers.Second, lease.Session());
        var session = lease.Session();
        var working = await WorkAsync(scene.Pool, lease, work);

        // A command is cancelled by a request of the protocol first, which knows a secret: it ends there.
        scene.Forwarder.LeadTo(servers.Second.Port, servers.Second.Port, servers.First.Port);
        await lease.DisposeAsync();

        // Whoever reads an export may see its end instead of an error, when Npgsql is just between two reads.
        var end = await Record.ExceptionAsync(() => working.WaitAsync(TimeSpan.FromSeconds(20), TimeProvider.System, Cancellation));
        Assert.True(end is null ? work == "copy" : end is not TimeoutException, $"{end}");
        await Eventually.True(() => scene.Pool.Snapshot is { Leased: 0, Quarantined: 0 }, "the place is free", TimeSpan.FromSeconds(20));
        stranger.AssertUntouched();
        Assert.DoesNotContain(scene.Pool.Logs.Entries, entry => entry.EventId.Id == WrittenOff);
        Assert.NotEqual("active", await scene.Pool.ActivityAsync(session));
        scene.Forwarder.LeadTo(servers.First.Port);
        await using var next = await scene.Pool.Pool.RentAsync(Cancellation);
        Assert.Equal(7, await next.AskAsync<int>("SELECT 7"));
    }

    /// <summary>The server of the session is not reached any more: within the bound the place comes back, without it.</summary>
    [Theory]
    [InlineData("wait")]
    [InlineData("copy")]
    public async Task ReturnAsync_WhileBusy_TheAddressHasMoved_WritesTheConnectionOffWithinTheBoundAndHarmsNobody(string work)
    {
        var clock = new ManualTimeProvider();
        await using var scene = await SceneAsync(clock);
        var lease = await scene.Pool.Pool.RentAsync(Cancellation);
        await using var stranger = await Stranger.AtAsync(servers.Second, lease.Session());
        var session = lease.Session();
        var working = await WorkAsync(scene.Pool, lease, work);
        scene.Forwarder.LeadTo(servers.Second.Port);

        var returning = lease.DisposeAsync().AsTask();
        await UntilAsync(clock, () => returning.IsCompleted, "the return gives up");
        Assert.Equal(1, scene.Pool.Snapshot.Quarantined);
        await UntilAsync(clock, () => scene.Pool.Snapshot is { Quarantined: 0, Leased: 0 }, "the place is free");

        stranger.AssertUntouched();
        Assert.False(working.IsCompleted);
        var said = Assert.Single(scene.Pool.Logs.Entries, entry => entry.EventId.Id == WrittenOff).Message;
        Assert.Contains($"session {session} on 127.0.0.1:{scene.Forwarder.Port}", said, StringComparison.Ordinal);
        Assert.Contains(nameof(OneNameTwoServersTests), said, StringComparison.Ordinal);
        await using (var next = await scene.Pool.Pool.RentAsync(Cancellation))
        {
            Assert.Equal(1, scene.Pool.Snapshot.TotalOpened - scene.Pool.Snapshot.TotalClosed);
            Assert.Equal(servers.Second.Port, await next.AskAsync<int>("SELECT current_setting('port')::int"));
        }

        // What is written off ends in the end: nothing is settled a second time.
        await new Outside(servers.First.ConnectionString).AskAsync<bool>($"SELECT pg_terminate_backend({session})");
        await Assert.ThrowsAnyAsync<Exception>(() => working.WaitAsync(TimeSpan.FromSeconds(20), TimeProvider.System, Cancellation));
        for (var tick = 0; tick < 30; tick++)
        {
            clock.Advance(TimeSpan.FromSeconds(1));
        }

        // Npgsql may have ended what was idle: it takes a server that ends a session for one that has gone.
        var after = scene.Pool.Snapshot;
        Assert.Equal((0, 0, (long)after.Idle), (after.Leased, after.Quarantined, after.TotalOpened - after.TotalClosed));
        await using var last = await scene.Pool.Pool.RentAsync(Cancellation);
        Assert.Equal(1, await last.AskAsync<int>("SELECT 1"));
    }

    /// <summary>What was written off Npgsql goes on counting: that must not use up what its own pool has room for.</summary>
    [Fact]
    public async Task ReturnAsync_MoreAreWrittenOffThanNpgsqlHasRoomFor_AsManyAgainAreOpened()
    {
        const int MaxSize = 12;
        var clock = new ManualTimeProvider();
        await using var scene = await SceneAsync(clock, MaxSize);
        var leases = await scene.Pool.Pool.RentAsync(MaxSize, Cancellation);
        var sessions = leases.Select(lease => lease.Session()).ToArray();
        var working = await Task.WhenAll(leases.Select(lease => WorkAsync(scene.Pool, lease, "wait")));
        scene.Forwarder.LeadTo(servers.Second.Port);

        var returning = Task.WhenAll(leases.Select(lease => lease.DisposeAsync().AsTask()));
        await UntilAsync(clock, () => returning.IsCompleted, "the returns give up");
        await UntilAsync(clock, () => scene.Pool.Snapshot is { Quarantined: 0, Leased: 0 }, "the places are free");
        Assert.Equal(MaxSize, scene.Pool.Logs.Entries.Count(entry => entry.EventId.Id == WrittenOff));
        Assert.All(working, wait => Assert.False(wait.IsCompleted));

        var next = await scene.Pool.Pool.RentAsync(MaxSize, Cancellation).WaitAsync(TimeSpan.FromSeconds(40), TimeProvider.System, Cancellation);

        Assert.Equal(MaxSize, scene.Pool.Snapshot.Leased);
        await next.ReturnAllAsync();
        await new Outside(servers.First.ConnectionString).TerminateAsync($"pid IN ({string.Join(',', sessions)})");
        foreach (var wait in working)
        {
            await Assert.ThrowsAnyAsync<Exception>(() => wait.WaitAsync(TimeSpan.FromSeconds(20), TimeProvider.System, Cancellation));
        }

        await UntilAsync(clock, () => scene.Pool.Snapshot is { Idle: MaxSize, TotalOpened: 2 * MaxSize, TotalClosed: MaxSize }, "nothing is settled a second time");
    }

    /// <summary>A command that was cancelled in vain Npgsql gives up by itself, after two seconds.</summary>
    [Fact]
    public async Task ReturnAsync_ACommandRuns_TheAddressHasMoved_ThePlaceComesBackAndNobodyIsHarmed()
    {
        await using var scene = await SceneAsync();
        var lease = await scene.Pool.Pool.RentAsync(Cancellation);
        await using var stranger = await Stranger.AtAsync(servers.Second, lease.Session());
        var working = await WorkAsync(scene.Pool, lease, "command");
        scene.Forwarder.LeadTo(servers.Second.Port);

        await lease.DisposeAsync();

        await Eventually.True(() => scene.Pool.Snapshot is { Leased: 0, Quarantined: 0 }, "the place is free", TimeSpan.FromSeconds(40));
        await Assert.ThrowsAnyAsync<Exception>(() => working.WaitAsync(TimeSpan.FromSeconds(20), TimeProvider.System, Cancellation));
        stranger.AssertUntouched();
        await using var next = await scene.Pool.Pool.RentAsync(Cancellation);
        Assert.Equal(servers.Second.Port, await next.AskAsync<int>("SELECT current_setting('port')::int"));
    }

    /// <summary>What waits for its owner in the midst of an import, Npgsql ends by itself: no server need be asked.</summary>
    [Fact]
    public async Task ReturnAsync_AnImportIsOpen_TheAddressHasMoved_KeepsTheConnection()
    {
        await using var scene = await SceneAsync();
        var lease = await scene.Pool.Pool.RentAsync(Cancellation);
        await lease.DoAsync("CREATE TEMP TABLE t (id int)");
        await lease.Connection.BeginBinaryImportAsync("COPY t FROM STDIN (FORMAT BINARY)", Cancellation);
        scene.Forwarder.LeadTo(servers.Second.Port);

        await lease.DisposeAsync();

        await Eventually.True(() => scene.Pool.Snapshot is { Idle: 1, Quarantined: 0 }, "it rests");
    }

    [Fact]
    public async Task GetServerReportAsync_OnlyTheOtherServerAnswers_SaysSoAndEndsNobodyThere()
    {
        await using var scene = await SceneAsync();
        await scene.Pool.Pool.FillAsync(1, Cancellation);
        await using var theirs = await NamesakeAsync(servers.Second, scene.Pool.ApplicationName);
        scene.Forwarder.LeadTo(servers.Second.Port);

        // Over an idle connection, as there is one; without, there is no way.
        Assert.DoesNotContain((await scene.Pool.Pool.GetServerReportAsync(Cancellation)).Sessions, session => session.ProcessId == theirs.ProcessID);
        await using var lease = await scene.Pool.Pool.RentAsync(Cancellation);
        var report = await Assert.ThrowsAsync<ControlConnectionException>(() => scene.Pool.Pool.GetServerReportAsync(Cancellation));
        var termination = await Assert.ThrowsAsync<ControlConnectionException>(
            () => scene.Pool.Pool.TerminateIdleSessionsAsync(TimeSpan.Zero, dryRun: false, cancellationToken: Cancellation));

        Assert.Contains("Another server answered", report.Message, StringComparison.Ordinal);
        Assert.Contains("Another server answered", termination.Message, StringComparison.Ordinal);
        Assert.Equal(1, await theirs.AskAsync<int>("SELECT 1"));
    }

    [Fact]
    public async Task GetServerReportAsync_TheServersAnswerByTurns_IsOfTheOneWithThePoolsSessions()
    {
        await using var scene = await SceneAsync();
        await using var lease = await scene.Pool.Pool.RentAsync(Cancellation);
        await using var theirs = await NamesakeAsync(servers.Second, scene.Pool.ApplicationName);
        await using var ours = await NamesakeAsync(servers.First, scene.Pool.ApplicationName);
        scene.Forwarder.LeadTo(servers.Second.Port, servers.First.Port);

        var report = await scene.Pool.Pool.GetServerReportAsync(Cancellation);
        scene.Forwarder.LeadTo(servers.Second.Port, servers.First.Port);
        var ended = await scene.Pool.Pool.TerminateIdleSessionsAsync(TimeSpan.Zero, dryRun: false, cancellationToken: Cancellation);

        Assert.Equal((1, 1), (report.OfThisPool, report.OthersOfThisApplication));
        Assert.Equal(lease.Session(), Assert.Single(report.Sessions, session => session.Owner == SessionOwner.ThisPool).ProcessId);
        Assert.Equal(ours.ProcessID, Assert.Single(ended.Sessions, session => session.Outcome == TerminationOutcome.Terminated).Session.ProcessId);
        Assert.Equal(1, await theirs.AskAsync<int>("SELECT 1"));
    }

    /// <summary>A session that has the process id of one of the pool's, on the server where the pool is now, is not the pool's.</summary>
    [Fact]
    public async Task GetServerReportAsync_ALeaseIsStillOnTheOldServer_DoesNotTakeAStrangerForIt()
    {
        await using var scene = await SceneAsync();
        await using var old = await scene.Pool.Pool.RentAsync(Cancellation);
        await using var stranger = await Stranger.AtAsync(servers.Second, old.Session());
        scene.Forwarder.LeadTo(servers.Second.Port);
        scene.Pool.Pool.Clear();
        await using var fresh = await scene.Pool.Pool.RentAsync(Cancellation);

        var report = await scene.Pool.Pool.GetServerReportAsync(Cancellation);

        Assert.Equal(fresh.Session(), Assert.Single(report.Sessions, session => session.Owner == SessionOwner.ThisPool).ProcessId);
        Assert.Equal(SessionOwner.Others, Assert.Single(report.Sessions, session => session.ProcessId == old.Session()).Owner);
    }

    /// <summary>What a session does is asked of its own server, or not known.</summary>
    [Fact]
    public async Task InspectAsync_TheServersAnswerByTurns_TellsWhatTheOwnSessionDoes()
    {
        await using var scene = await SceneAsync();
        var settings = ConnectionPoolOptionsValidator.Settle(
            new ConnectionPoolOptions { ConnectionString = scene.Forwarder.ConnectionString(servers.First.ConnectionString) });
        var clock = new PoolClock(TimeProvider.System);
        var physicals = new PhysicalConnections(settings, clock);
        await using var source = new NpgsqlConnectionSource(settings, new ServerPath(), physicals, new HostRoles(clock), new Hooks(clock), TimeProvider.System, NullLogger.Instance);
        using var attempt = new OpenAttempt(settings, clock, place: 0, isBlocking: false, static _ => { }, Cancellation);
        var own = (await source.OpenAsync(attempt)).Connection;
        await using var stranger = await Stranger.AtAsync(servers.Second, own.ProcessID);

        scene.Forwarder.LeadTo(servers.Second.Port, servers.First.Port);
        var found = await source.InspectAsync([own]);
        scene.Forwarder.LeadTo(servers.Second.Port);
        var unknown = await source.InspectAsync([own]);

        Assert.Equal("idle", Assert.Single(found!).Value.State);
        Assert.Empty(unknown!);
        await own.CloseAsync();
    }

    private static async Task UntilAsync(ManualTimeProvider clock, Func<bool> condition, string what)
        => await Eventually.True(
            () =>
            {
                clock.Advance(TimeSpan.FromMilliseconds(250));
                return condition();
            },
            what,
            TimeSpan.FromSeconds(40));

    /// <summary>A session of the same application, beside the pool.</summary>
    private static async Task<NpgsqlConnection> NamesakeAsync(PostgresServer server, string name)
    {
        var session = new NpgsqlConnection($"{server.ConnectionString};Pooling=false;Application Name={name}");
        await session.OpenAsync(Cancellation);
        await session.DoAsync("SELECT 1");
        return session;
    }

    /// <summary>Makes a lease busy on another flow, and returns what that ends with once the server sees it.</summary>
    private static async Task<Task> WorkAsync(PoolOnServer pool, Lease lease, string work)
    {
        var connection = lease.Connection;
        var session = connection.ProcessID;
        if (work == "wait")
        {
            await connection.DoAsync("SELECT 1");
            var waiting = Task.Run(() => connection.WaitAsync());
            await Eventually.True(() => connection.FullState.HasFlag(System.Data.ConnectionState.Fetching), "it waits");
            return waiting;
        }

        var working = work == "copy"
            ? Task.Run(async () =>
            {
                using var export = await connection.BeginTextExportAsync("COPY (SELECT repeat('x', 100000), pg_sleep(g * 600) FROM generate_series(0, 1) g) TO STDOUT");
                await export.ReadToEndAsync();
            })
            : lease.DoAsync("SELECT pg_sleep(600)");
        await Eventually.True(async () => await pool.ActivityAsync(session) == "active", "it is busy");
        return working;
    }

    private async Task<Scene> SceneAsync(TimeProvider? clock = null, int maxSize = 2)
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "Process ids of their own take root.");
        await Stranger.PassIdsAsync(servers.First, servers.Second);
        var forwarder = new SwitchedForwarder(servers.First.Port);
        var pool = await PoolOnServer.CreateAsync(
            options => (options.MaxSize, options.WatchServer) = (maxSize, false),
            text => text.Port = forwarder.Port,
            clock,
            servers.First.ConnectionString);
        return new Scene(pool, forwarder);
    }

    private sealed record Scene(PoolOnServer Pool, SwitchedForwarder Forwarder) : IAsyncDisposable
    {
        public async ValueTask DisposeAsync()
        {
            await Pool.DisposeAsync();
            await Forwarder.DisposeAsync();
        }
    }
}
