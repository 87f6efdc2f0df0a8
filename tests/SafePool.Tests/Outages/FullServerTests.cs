using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using SafePool.Tests.Verdicts;
using Xunit;

namespace SafePool.Tests.Outages;

/// <summary>The server, its database or its role has no room for another connection (53300): the pool serves from those that it has.</summary>
public sealed class FullServerTests(QuietServer quiet) : IClassFixture<QuietServer>
{
    private const int MaxSize = 4;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task RentAsync_TheServerIsFull_IsServedAndALineSaysSo()
    {
        await using var full = await FullServer.StartAsync(room: 2);
        await using var server = await CreateAsync(full.ConnectionString);
        var leases = await server.Pool.RentAsync(2, Cancellation);

        await AssertServesFromTwoAsync(server, leases);

        var said = (await server.Logs.WaitForAsync(entry => entry.EventId.Id == OutageKit.ServerFull)).Message;
        Assert.True(said.Contains("no room for more than 2 of its 4 connections (", StringComparison.Ordinal), said);
        Assert.True(said.Contains("53300", StringComparison.Ordinal), said);
        await full.MakeRoomAsync();
        await AssertGrowsAsync(server);
    }

    /// <summary>What the design promises of a full server.</summary>
    [Fact]
    public async Task RentAsync_TheServerStaysFullUnderLoad_KeepsTheSessionsThatItHasAndAsksSeldom()
    {
        await using var full = await FullServer.StartAsync(room: 2);
        await using var proxy = TcpProxy.Start(full.ConnectionString);
        await using var server = await CreateAsync(full.ConnectionString, watches: false, proxy: proxy);
        var leases = await server.Pool.RentAsync(2, Cancellation);
        var sessions = leases.Select(lease => lease.Session()).Order().ToArray();

        // For a second an open that succeeded is proof enough that the next will.
        await OutageKit.PassAsync(TimeSpan.FromSeconds(1.1), Cancellation);
        await AssertServesFromTwoAsync(server, leases);
        using var load = new Load(server, workers: 2 * MaxSize);
        await OutageKit.PassAsync(TimeSpan.FromSeconds(3), Cancellation);
        await load.StopAsync();

        Assert.Empty(load.FailedRents);

        // It may be asking just now.
        await Eventually.True(() => server.Snapshot.EffectiveMaxSize == 2, "the server has refused the third again");
        Assert.Equal((2L, 0L), (server.Snapshot.TotalOpened, server.Snapshot.TotalClosed));
        Assert.Equal(sessions, (await server.BurstAsync(2, Cancellation)).Order());

        // Two sessions, the refusals now and after 1, 2 and 4 seconds, and the question who has the rest.
        Assert.InRange(proxy.TotalAccepted, 3, 8);
        var said = Assert.Single(server.Logs.Entries, entry => entry.EventId.Id == OutageKit.ServerFull).Message;
        Assert.True(said.Contains("no room for more than 2 of its 4 connections", StringComparison.Ordinal), said);
        Assert.True(said.Contains("It could not be asked who uses the rest.", StringComparison.Ordinal), said);
    }

    [Theory]
    [InlineData("ROLE", "too many connections for role")]
    [InlineData("DATABASE", "too many connections for database")]
    public async Task RentAsync_TheRoleOrDatabaseIsFull_SaysWhichAndGrowsOnceTheLimitIsGone(string kind, string expected)
    {
        await using var own = await OwnRole.CreateAsync(quiet.ConnectionString);
        await own.LimitAsync(kind, 2);
        await using var server = await CreateAsync(quiet.ConnectionString, own: own);
        var leases = await server.Pool.RentAsync(2, Cancellation);

        await AssertServesFromTwoAsync(server, leases);

        var said = (await server.Logs.WaitForAsync(entry => entry.EventId.Id == OutageKit.ServerFull)).Message;
        Assert.True(said.Contains(expected, StringComparison.Ordinal), said);
        await own.LimitAsync(kind, -1);
        await AssertGrowsAsync(server);
    }

    [Theory]
    [InlineData(0, false)]
    [InlineData(1, true)]
    public async Task WarmUpAsync_AllInstancesComparedWithTheServer_WarnsWhenTheyWantMore(int beyond, bool warns)
    {
        await using var own = await OwnRole.CreateAsync(quiet.ConnectionString);
        var outside = new Outside(quiet.ConnectionString);
        var room = await outside.AskAsync<int>("SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int");
        await using var server = await CreateAsync(quiet.ConnectionString, own: own, maxSize: 1, instances: room + beyond);

        await server.Pool.WarmUpAsync(Cancellation);

        var said = server.Logs.Entries.Where(entry => entry.EventId.Id == OutageKit.TooManyExpected).Select(entry => entry.Message).ToArray();
        Assert.Equal(warns ? 1 : 0, said.Length);
        if (warns)
        {
            Assert.Contains($"{room + 1} instances with 1 connections each want {room + 1}, but max_connections is ", said[0], StringComparison.Ordinal);
            Assert.DoesNotContain("limited", said[0], StringComparison.Ordinal);
            Assert.DoesNotContain("the role", said[0], StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("ROLE", 8, null)]
    [InlineData("ROLE", 7, "the role to 7")]
    [InlineData("ROLE", -1, null)]
    [InlineData("DATABASE", 8, null)]
    [InlineData("DATABASE", 7, "the database is limited to 7")]
    [InlineData("DATABASE", -1, null)]
    public async Task WarmUpAsync_AllInstancesComparedWithRoleAndDatabase_WarnsWhenTheyWantMore(string kind, int limit, string? expected)
    {
        await using var own = await OwnRole.CreateAsync(quiet.ConnectionString);
        await own.LimitAsync(kind, limit);
        await using var server = await CreateAsync(quiet.ConnectionString, watches: false, own: own, instances: 2);

        await server.Pool.WarmUpAsync(Cancellation);

        var said = server.Logs.Entries.Where(entry => entry.EventId.Id == OutageKit.TooManyExpected).Select(entry => entry.Message).ToArray();
        Assert.Equal(expected is null ? 0 : 1, said.Length);
        if (expected is not null)
        {
            Assert.Contains("2 instances with 4 connections each want 8", said[0], StringComparison.Ordinal);
            Assert.Contains(expected, said[0], StringComparison.Ordinal);
        }
    }

    /// <summary>The server does not hold superusers to the limits of roles and databases, so it would be a false alarm.</summary>
    [Fact]
    public async Task WarmUpAsync_TheRoleIsASuperuserWithALimit_DoesNotWarn()
    {
        await using var own = await OwnRole.CreateAsync(quiet.ConnectionString);
        await own.LimitAsync("ROLE", 1);
        await own.LimitAsync("DATABASE", 1);
        await own.BecomeSuperuserAsync();
        await using var server = await CreateAsync(quiet.ConnectionString, own: own);

        await server.BurstAsync(MaxSize, Cancellation);
        await server.Pool.WarmUpAsync(Cancellation);

        Assert.Equal((0, MaxSize), (server.Logged(OutageKit.TooManyExpected), server.Snapshot.EffectiveMaxSize));
    }

    /// <summary>Nobody waits for a lease, so nothing but upkeep ever asks for one more.</summary>
    [Fact]
    public async Task Maintenance_TheRoleWasFullAndHasRoomAgain_RegainsMinSizeWithoutAnyRent()
    {
        await using var own = await OwnRole.CreateAsync(quiet.ConnectionString);
        await using var server = await CreateFullAsync(own);
        server.Pool.Reconfigure(options => options.MinSize = MaxSize);
        await Eventually.True(() => server.Snapshot is { Idle: 2, Opening: 0, EffectiveMaxSize: 2 }, "the server has refused the third");

        await own.LimitAsync("ROLE", -1);

        await Eventually.True(() => server.Snapshot is { Idle: MaxSize, EffectiveMaxSize: MaxSize }, "the minimum is there");
        Assert.Equal((0L, (long)MaxSize), (server.Snapshot.TotalRents, server.Snapshot.TotalOpened));
    }

    [Fact]
    public async Task WarmUpAsync_TheRoleWasFullAndHasRoomAgain_OpensMinSize()
    {
        await using var own = await OwnRole.CreateAsync(quiet.ConnectionString);
        await using var server = await CreateFullAsync(own);
        server.Pool.Reconfigure(options => options.MinSize = MaxSize);
        var warmUp = server.Pool.WarmUpAsync(Cancellation);
        await Eventually.True(() => server.Snapshot is { Idle: 2, Opening: 0, EffectiveMaxSize: 2 }, "the server has refused the third");
        Assert.False(warmUp.IsCompleted);

        await own.LimitAsync("ROLE", -1);

        await warmUp;
        Assert.Equal((MaxSize, (long)MaxSize), (server.Snapshot.Idle, server.Snapshot.TotalOpened));
    }

    [Fact]
    public async Task WarmUpAsync_TheRoleStaysFull_ThrowsTheRefusalOnceItsBudgetIsOver()
    {
        await using var own = await OwnRole.CreateAsync(quiet.ConnectionString);
        await using var server = await CreateFullAsync(own);
        server.Pool.Reconfigure(options => (options.MinSize, options.AcquireTimeout) = (MaxSize, TimeSpan.FromSeconds(2)));

        var refused = await Assert.ThrowsAsync<PostgresException>(() => server.Pool.WarmUpAsync(Cancellation));

        Assert.Equal(PostgresErrorCodes.TooManyConnections, refused.SqlState);
        Assert.Equal((2L, 0L), (server.Snapshot.TotalOpened, server.Snapshot.TotalClosed));
    }

    /// <summary>A pool with two connections, all that its role may have, and which knocks before it opens another.</summary>
    private async Task<PoolOnServer> CreateFullAsync(OwnRole own)
    {
        await own.LimitAsync("ROLE", 2);
        var server = await CreateAsync(quiet.ConnectionString, watches: false, own: own, minSize: 2);
        await Eventually.True(() => server.Snapshot is { Idle: 2, Opening: 0 }, "two are open");

        // For a second an open that succeeded is proof enough that the next will.
        await OutageKit.PassAsync(TimeSpan.FromSeconds(1.1), Cancellation);
        return server;
    }

    private static async Task AssertServesFromTwoAsync(PoolOnServer server, Lease[] leases)
    {
        var waiting = server.Pool.RentAsync(Cancellation).AsTask();
        await Eventually.True(() => server.Snapshot is { EffectiveMaxSize: <= 2, MaxSize: MaxSize }, "the server has refused the third");
        Assert.False(waiting.IsCompleted);

        await leases[0].DisposeAsync();

        await (await waiting).DisposeAsync();
        await leases[1].DisposeAsync();
        await Task.WhenAll(Enumerable.Range(0, 30).Select(_ => server.UseAsync(Cancellation)));
        Assert.Equal((CircuitState.Closed, 0L), (server.Snapshot.Circuit, server.Snapshot.TotalTimeouts));
    }

    private static async Task AssertGrowsAsync(PoolOnServer server)
    {
        await server.BurstAsync(MaxSize, Cancellation);
        await server.Logs.WaitForAsync(entry => entry.EventId.Id == OutageKit.ServerHasRoom);
        Assert.Equal(MaxSize, server.Snapshot.EffectiveMaxSize);
    }

    private static Task<PoolOnServer> CreateAsync(string postgres, bool watches = true, OwnRole? own = null, int maxSize = MaxSize, int instances = 1, TcpProxy? proxy = null, int minSize = 1)
        => PoolOnServer.CreateAsync(
            options => (options.MaxSize, options.WatchServer, options.ExpectedInstances, options.AcquireTimeout, options.MinSize)
                = (maxSize, watches, instances, TimeSpan.FromSeconds(30), minSize),
            text => own?.Use(text),
            server: postgres,
            proxy: proxy);
}
