using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using SafePool.Tests.Outages;
using Xunit;

namespace SafePool.Tests.Operations;

public sealed class ServerReportTests(QuietServer quiet) : IClassFixture<QuietServer>
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task GetServerReportAsync_ComparedWithSessionsOfEveryKind_CountsEachOnce()
    {
        await using var server = await PostgresServer.StartAsync(options => options.Settings["autovacuum"] = "off", Cancellation);
        await new Outside(server.ConnectionString).DoAsync("CREATE DATABASE shop");
        await using var pool = await PoolOnServer.CreateAsync(options => (options.MaxSize, options.WatchServer) = (3, false), server: server.ConnectionString);
        await using var strangers = new Strangers(server.ConnectionString);
        await pool.Pool.FillAsync(3, Cancellation);
        await using var working = await pool.Pool.RentAsync(Cancellation);
        await working.DoAsync("BEGIN");
        await strangers.IdleAsync("billing");
        await strangers.IdleAsync("billing", text => text.Database = "shop");
        var forgotten = await strangers.InTransactionAsync("billing");
        await strangers.ActiveAsync("report");
        await strangers.IdleAsync(pool.ApplicationName);
        await strangers.IdleAsync("");

        // Those who made all this have closed their sessions; the server takes a moment.
        ServerReport report = null!;
        await Eventually.True(async () => (report = await pool.Pool.GetServerReportAsync(Cancellation)).Connections == 10, "only those are left");

        Assert.Equal((3, 1, 0), (report.OfThisPool, report.OthersOfThisApplication, report.Hidden));
        Assert.Equal(["6 idle", "2 active", "2 idle in transaction"], report.ByState.Select(count => $"{count}"));
        Assert.Equal(["9 postgres", "1 shop"], report.ByDatabase.Select(count => $"{count}"));
        Assert.Equal(["10 postgres"], report.ByRole.Select(count => $"{count}"));
        Assert.Equal(
            new HashSet<string> { $"4 {pool.ApplicationName}", "3 billing", "1 report", "1 without a name", $"1 {pool.ApplicationName} (SafePool control)" },
            report.ByApplication.Select(count => $"{count}").ToHashSet());
        Assert.Equal([working.Session(), forgotten.ProcessID], report.OldestIdleInTransaction.Select(session => session.ProcessId));
        Assert.Equal([SessionOwner.ThisPool, SessionOwner.Others], report.OldestIdleInTransaction.Select(session => session.Owner));
        Assert.Equal(6, report.OldestIdle.Length);
        Assert.Equal(report.OldestIdle.Select(session => session.StateAge).OrderDescending(), report.OldestIdle.Select(session => session.StateAge));
        Assert.Equal(1, report.Sessions.Count(session => session.Owner == SessionOwner.ControlConnection));
        Assert.Equal((server.Version.Major, 200, 5.0), (report.ServerVersion.Major, report.MaxConnections, report.PercentUsed));
        Assert.Contains("10 of 200 connections in use (5 %), 3 reserved, 187 available; 3 of this pool, 1 others", report.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task GetServerReportAsync_OfAServerWithLimits_NamesThem()
    {
        var settings = new Dictionary<string, string> { ["max_connections"] = "20", ["superuser_reserved_connections"] = "4" };
        await using var server = await PostgresServer.StartAsync(options => Add(options, settings), Cancellation);
        var reserves = server.Version.Major >= 16;
        if (reserves)
        {
            await new Outside(server.ConnectionString).DoAsync("ALTER SYSTEM SET reserved_connections = 2");
            await server.RestartAsync(cancellationToken: Cancellation);
        }

        await using var own = await OwnRole.CreateAsync(server.ConnectionString);
        await own.LimitAsync("ROLE", 7);
        await own.LimitAsync("DATABASE", 9);
        await using var pool = await PoolOnServer.CreateAsync(text: own.Use, server: server.ConnectionString);

        var report = await pool.Pool.GetServerReportAsync(Cancellation);

        Assert.Equal((20, 4, reserves ? 2 : 0), (report.MaxConnections, report.ReservedForSuperusers, report.ReservedForRoles));
        Assert.Equal((9, 7), (report.DatabaseLimit, report.RoleLimit));
        Assert.Equal(20 - report.Reserved - report.Connections, report.Available);
    }

    [Fact]
    public async Task GetServerReportAsync_ByARoleThatMaySeeNothing_CountsWhatIsHiddenAndSaysSo()
    {
        await using var own = await OwnRole.CreateAsync(quiet.ConnectionString);
        await using var strangers = new Strangers(quiet.ConnectionString);
        await strangers.IdleAsync("billing");
        await using var pool = await PoolOnServer.CreateAsync(options => options.WatchServer = false, own.Use, server: quiet.ConnectionString);
        await pool.Pool.FillAsync(2, Cancellation);

        var report = await pool.Pool.GetServerReportAsync(Cancellation);

        Assert.True(report.Hidden >= 1, report.ToString());
        Assert.Equal(2, report.OfThisPool);
        Assert.Contains(report.ByState, count => count.Name is null && count.Count == report.Hidden);
        Assert.All(report.Sessions.Where(session => session.State is null), session => Assert.Equal((null, "postgres"), (session.StateAge, session.Role)));
        Assert.Contains("hidden from this role", report.ToString(), StringComparison.Ordinal);
    }

    /// <summary>What streams to a standby has a slot of its own, and is nobody's to end.</summary>
    [Fact]
    public async Task GetServerReportAsync_OfAServerWithAStandby_DoesNotCountTheReplication()
    {
        await using var pair = await ReplicatedPair.StartAsync(cancellationToken: Cancellation);
        await using var pool = await PoolOnServer.CreateAsync(options => options.WatchServer = false, server: pair.Primary.ConnectionString);
        var senders = await pool.AskAsync<string[]>("SELECT array_agg(application_name) FROM pg_stat_activity WHERE backend_type = 'walsender'");

        var report = await pool.Pool.GetServerReportAsync(Cancellation);
        var termination = await pool.Pool.TerminateIdleSessionsAsync(TimeSpan.Zero, senders.Single(), dryRun: false, cancellationToken: Cancellation);

        Assert.DoesNotContain(report.ByApplication, count => count.Name == senders.Single());
        Assert.Empty(termination.Sessions);
    }

    [Fact]
    public async Task GetServerReportAsync_WhileThePoolIsExhausted_AnswersAndTakesNoPlace()
    {
        await using var pool = await PoolOnServer.CreateAsync(
            options => (options.MaxSize, options.AcquireTimeout) = (1, TimeSpan.FromMinutes(1)), server: quiet.ConnectionString);
        var lease = await pool.Pool.RentAsync(Cancellation);
        var waiting = pool.Pool.RentAsync(Cancellation).AsTask();

        var report = await pool.Pool.GetServerReportAsync(Cancellation);

        Assert.Equal(1, report.OfThisPool);
        Assert.Equal((1, 1, 1L), (pool.Snapshot.Leased, pool.Snapshot.Waiting, pool.Snapshot.TotalOpened));
        Assert.False(waiting.IsCompleted);
        await lease.DisposeAsync();
        await (await waiting).DisposeAsync();
    }

    [Fact]
    public async Task GetServerReportAsync_OfAPoolThatDrains_AnswersAndOfADisposedOne_SaysSo()
    {
        await using var pool = await PoolOnServer.CreateAsync(server: quiet.ConnectionString);
        var lease = await pool.Pool.RentAsync(Cancellation);
        await pool.Pool.DrainAsync(TimeSpan.Zero, Cancellation);

        Assert.Equal(1, (await pool.Pool.GetServerReportAsync(Cancellation)).OfThisPool);

        await lease.DisposeAsync();
        await pool.Pool.DisposeAsync();
        await Assert.ThrowsAsync<PoolClosedException>(() => pool.Pool.GetServerReportAsync(Cancellation));
    }

    [Fact]
    public async Task GetServerReportAsync_TheServerIsDownAndTheCircuitOpen_SaysWhy()
    {
        await using var server = await PostgresServer.StartAsync(cancellationToken: Cancellation);
        await using var pool = await PoolOnServer.CreateAsync(
            options => (options.AcquireTimeout, options.Breaker.TripAfter) = (TimeSpan.FromSeconds(20), TimeSpan.FromMilliseconds(100)),
            server: server.ConnectionString);
        await server.StopAsync(StopMode.Immediate);
        await Assert.ThrowsAsync<CircuitOpenException>(async () => await pool.Pool.RentAsync(Cancellation));

        var error = await Assert.ThrowsAsync<ControlConnectionException>(() => pool.Pool.GetServerReportAsync(Cancellation));

        Assert.Equal(0, error.Terminated);
        Assert.False(error.IsTransient);
        Assert.NotEqual(CircuitState.Closed, error.Snapshot.Circuit);
        Assert.IsType<NpgsqlException>(error.InnerException, exactMatch: false);
        Assert.StartsWith($"Pool '{pool.Pool.Name}' could not tell about its connections: its control connection got no answer", error.Message, StringComparison.Ordinal);

        await server.StartAgainAsync(Cancellation);
        Assert.NotEqual(0, (await pool.Pool.GetServerReportAsync(Cancellation)).Connections);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task GetServerReportAsync_TheServerIsSilent_EndsWithTheConnectTimeout(bool watched)
    {
        await using var proxy = TcpProxy.Start(quiet.ConnectionString);
        await using var pool = await PoolOnServer.CreateAsync(
            options => (options.ConnectTimeout, options.WatchServer, options.MinSize) = (TimeSpan.FromMilliseconds(300), watched, 1),
            server: quiet.ConnectionString,
            proxy: proxy);
        await pool.Pool.WarmUpAsync(Cancellation);
        if (watched)
        {
            await pool.WatchingAsync();
        }

        proxy.Stall();

        var error = await Assert.ThrowsAsync<ControlConnectionException>(() => pool.Pool.GetServerReportAsync(Cancellation));
        Assert.IsType<TimeoutException>(error.InnerException);
        Assert.Contains("No answer within 300 ms.", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task GetServerReportAsync_Cancelled_ThrowsWithThatToken()
    {
        await using var proxy = TcpProxy.Start(quiet.ConnectionString);
        proxy.Stall();
        await using var pool = await PoolOnServer.CreateAsync(
            options => options.ConnectTimeout = TimeSpan.FromMinutes(1), server: quiet.ConnectionString, proxy: proxy);
        using var source = CancellationTokenSource.CreateLinkedTokenSource(Cancellation);
        var asking = pool.Pool.GetServerReportAsync(source.Token);

        await source.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => asking);
    }

    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    public async Task GetServerReportAsync_TheServerIsFull_AnswersOverAnIdleConnectionIfThereIsOne(bool watched, bool leased)
    {
        await using var own = await OwnRole.CreateAsync(quiet.ConnectionString);
        await using var pool = await PoolOnServer.CreateAsync(
            options => (options.MinSize, options.WatchServer) = (1, watched), own.Use, server: quiet.ConnectionString);
        await pool.Pool.WarmUpAsync(Cancellation);
        if (watched)
        {
            await pool.WatchingAsync();
        }

        await own.LimitAsync("ROLE", 1);
        var lease = leased ? await pool.Pool.RentAsync(Cancellation) : default;
        using var returned = lease;

        if (!leased)
        {
            Assert.Equal((1, 1), ((await pool.Pool.GetServerReportAsync(Cancellation)) is var report ? report.OfThisPool : null, report.RoleLimit));
        }
        else
        {
            var error = await Assert.ThrowsAsync<ControlConnectionException>(() => pool.Pool.GetServerReportAsync(Cancellation));
            Assert.Contains("It has no room for one more connection: ask as a superuser", error.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task GetServerReportAsync_ALongApplicationName_LeavesTheControlConnectionANameOfItsOwn()
    {
        var name = new string('n', 70);
        await using var pool = await PoolOnServer.CreateAsync(text: text => text.ApplicationName = name, server: quiet.ConnectionString);
        await pool.Pool.FillAsync(2, Cancellation);

        var report = await pool.Pool.GetServerReportAsync(Cancellation);

        Assert.Contains(report.ByApplication, count => count.Name == name[..63] && count.Count == 2);
        var control = Assert.Single(report.Sessions, session => session.Owner == SessionOwner.ControlConnection);
        Assert.Equal($"{name[..44]} (SafePool control)", control.Application);
    }

    [Fact]
    [Trait("Conformance", "98")]
    public async Task GetServerReportAsync_OfAPoolWithAPassword_DoesNotPrintIt()
    {
        const string Password = "hunter2-marker";
        await using var proxy = TcpProxy.Start(quiet.ConnectionString);
        await using var pool = await PoolOnServer.CreateAsync(text: text => text.Password = Password, server: quiet.ConnectionString, proxy: proxy);
        var said = $"{await pool.Pool.GetServerReportAsync(Cancellation)} {await pool.Pool.TerminateIdleSessionsAsync(TimeSpan.Zero, cancellationToken: Cancellation)}";
        proxy.RefuseNew = true;
        proxy.ResetAll();

        var error = await Assert.ThrowsAsync<ControlConnectionException>(() => pool.Pool.GetServerReportAsync(Cancellation));

        Assert.DoesNotContain(Password, $"{said} {error} {error.Snapshot}", StringComparison.Ordinal);
    }

    private static void Add(PostgresServerOptions options, Dictionary<string, string> settings)
    {
        foreach (var (key, value) in settings)
        {
            options.Settings[key] = value;
        }
    }
}
