using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.Outages;

/// <summary>A pool that nobody uses holds MinSize sessions and not one more, whatever watches over them.</summary>
[Collection(nameof(Alone))]
public sealed class UnusedPoolTests(QuietServer quiet) : IClassFixture<QuietServer>
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    /// <summary>There is a slot for each connection of the pool, and none for anything beside it.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public async Task Restart_OfARoleWithNoMoreSlotsThanThePool_AllOfThemServeAgain(int slots)
    {
        await using var postgres = await PostgresServer.StartAsync(cancellationToken: Cancellation);
        await using var own = await OwnRole.CreateAsync(postgres.ConnectionString);
        await own.LimitAsync("ROLE", slots);
        await using var server = await PoolOnServer.CreateAsync(
            options => (options.MaxSize, options.MinSize, options.AcquireTimeout) = (slots, slots, TimeSpan.FromSeconds(20)),
            own.Use,
            server: postgres.ConnectionString);
        await server.BurstAsync(slots, Cancellation);
        await postgres.StopAsync(StopMode.Fast);
        await OutageKit.PassAsync(TimeSpan.FromSeconds(1), Cancellation);
        await postgres.StartAgainAsync(Cancellation);
        await Eventually.True(() => server.Snapshot.Idle == slots, "the minimum is there again");
        await OutageKit.PassAsync(TimeSpan.FromSeconds(1), Cancellation);

        for (var i = 0; i < 10; i++)
        {
            Assert.Equal(slots, (await server.BurstAsync(slots, Cancellation)).Distinct().Count());
        }

        Assert.Equal((0, slots), (server.Logged(OutageKit.ServerFull), (await server.SessionsAsync()).Length));
    }

    /// <summary>One for each tenant, on a server that has not half as many slots as there would be, were anything held beside the minimum.</summary>
    [Theory]
    [InlineData(60, 0)]
    [InlineData(20, 2)]
    public async Task ManyUnusedPools_HoldTheirMinimumAndNothingBeside(int tenants, int minSize)
    {
        const int AtOnce = 10;
        await using var own = await OwnRole.CreateAsync(quiet.ConnectionString);
        await own.LimitAsync("ROLE", 43 + (tenants * minSize));
        var pools = new List<PoolOnServer>();
        try
        {
            for (var i = 0; i < tenants; i++)
            {
                pools.Add(await PoolOnServer.CreateAsync(
                    options => (options.MaxSize, options.MinSize, options.IdleTimeout) = (4, minSize, TimeSpan.FromSeconds(1)),
                    own.Use,
                    server: quiet.ConnectionString));
            }

            foreach (var some in pools.Chunk(AtOnce))
            {
                await Task.WhenAll(some.Select(server => server.BurstAsync(3, Cancellation)));
                await Eventually.True(() => some.All(server => server.Snapshot.Idle == minSize), "each has shrunk to its minimum");
            }

            await Eventually.True(
                () => pools.TrueForAll(server => server.Pool.Parts.Clock.IsStale && (minSize == 0 || server.Pool.Parts.Gate.HasWatch)),
                "each watches, if it has anything to watch, and sleeps");
            await Eventually.True(async () => await own.CountSessionsAsync() == tenants * minSize, "there is the minimum of each");
            foreach (var some in pools.Chunk(2 * AtOnce))
            {
                await Task.WhenAll(some.Select(server => server.UseAsync(Cancellation)));
                await Eventually.True(() => some.All(server => server.Snapshot.Idle == minSize), "each has shrunk to its minimum again");
            }

            Assert.All(pools, server => Assert.Equal(0, server.Logged(OutageKit.ServerFull)));
        }
        finally
        {
            await Task.WhenAll(pools.Select(server => server.DisposeAsync().AsTask()));
        }
    }

    /// <summary>By an administrator, or by whatever names its victims by the pool's application name.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(4)]
    public async Task Rents_AfterAllSessionsWereEndedInAQuietPool_MeetNoneOfThem(int atOnce)
    {
        await using var server = await PoolOnServer.CreateAsync(
            options => (options.MaxSize, options.MinSize) = (4, 4), server: quiet.ConnectionString);
        for (var round = 0; round < 4; round++)
        {
            await server.BurstAsync(4, Cancellation);
            await OutageKit.PassAsync(TimeSpan.FromMilliseconds(1200 + (100 * round)), Cancellation);
            await server.TerminateAllAsync();
            await OutageKit.PassAsync(TimeSpan.FromMilliseconds(200), Cancellation);

            await Task.WhenAll(Enumerable.Range(0, atOnce).Select(_ => server.UseAsync(Cancellation)));
        }
    }

    /// <summary>57P05 for whatever is idle for 1.5 s, which in a pool that is used nothing is.</summary>
    [Fact]
    public async Task IdleSessionTimeout_OfAPoolThatIsUsed_CostsItNoConnection()
    {
        await using var own = await OwnRole.CreateAsync(quiet.ConnectionString);
        if (await new Outside(quiet.ConnectionString).AskAsync<int>("SELECT current_setting('server_version_num')::int") < 140_000)
        {
            // It came with PostgreSQL 14.
            await Assert.ThrowsAsync<PostgresException>(() => own.SetAsync("idle_session_timeout", "1500ms"));
            return;
        }

        await own.SetAsync("idle_session_timeout", "1500ms");
        await using var server = await PoolOnServer.CreateAsync(
            options => options.MaxSize = 4, own.Use, server: quiet.ConnectionString);
        using var enough = new CancellationTokenSource(TimeSpan.FromSeconds(6));
        while (!enough.IsCancellationRequested)
        {
            await server.BurstAsync(4, Cancellation);
            await OutageKit.PassAsync(TimeSpan.FromMilliseconds(100), Cancellation);
        }

        Assert.Equal((4L, 0), (server.Snapshot.TotalOpened, server.Logged(OutageKit.ServerLost)));
    }

    /// <summary>A balancer that ends what is idle for two seconds. In a pool whose connections are all used that is nothing; of one that uses only some it is the others.</summary>
    [Theory]
    [InlineData(4, 4, 0)]
    [InlineData(1, 6, 1)]
    public async Task IdleLimitOfABalancer_OfAPoolThatIsUsed_CostsItWhatIsIdle(int used, int mostOpened, int mostLosses)
    {
        await using var balancer = new SwitchedForwarder(new NpgsqlConnectionStringBuilder(quiet.ConnectionString).Port) { IdleLimit = TimeSpan.FromSeconds(2) };
        await using var server = await PoolOnServer.CreateAsync(
            options => options.MaxSize = 4, text => text.ConnectionString = balancer.ConnectionString(text.ConnectionString), server: quiet.ConnectionString);
        await server.BurstAsync(4, Cancellation);
        using var enough = new CancellationTokenSource(TimeSpan.FromSeconds(7));
        while (!enough.IsCancellationRequested)
        {
            await server.BurstAsync(used, Cancellation);
            await OutageKit.PassAsync(TimeSpan.FromMilliseconds(100), Cancellation);
        }

        Assert.InRange(server.Snapshot.TotalOpened, 4, mostOpened);
        Assert.InRange(server.Logged(OutageKit.ServerLost), 0, mostLosses);
    }
}
