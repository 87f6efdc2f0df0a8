using SafePool.TestKit;
using SafePool.Tests.Outages;
using Xunit;

namespace SafePool.Tests.Integration;

public sealed class ResizeTests(ITestOutputHelper output)
{
    private static readonly CancellationToken _test = TestContext.Current.CancellationToken;

    /// <summary>The size goes up and down under callers who never stop: what the server counts follows, and nobody fails.</summary>
    [Fact]
    [Trait("Conformance", "65")]
    public async Task Reconfigure_UnderLoad_TheServersCountFollowsEachSize()
    {
        var seed = Random.Shared.Next();
        output.WriteLine($"seed {seed}");
        var random = new Random(seed);
        await using var server = await PoolOnServer.CreateAsync(options =>
        {
            options.MaxSize = 4;
            options.WatchServer = false;
            options.AcquireTimeout = TimeSpan.FromMinutes(1);
        });
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(_test);
        var callers = Enumerable.Range(0, 16).Select(_ => Task.Run(() => CallAsync(server.Pool, stop.Token), _test)).ToArray();

        for (var i = 0; i < 12; i++)
        {
            var size = random.Next(1, 13);
            server.Pool.Reconfigure(options => options.MaxSize = size);
            await Eventually.True(async () => (await server.SessionsAsync()).Length == size, $"the server counts {size}");
        }

        await stop.CancelAsync();
        await Task.WhenAll(callers);
        Assert.Equal((0, 0), (server.Snapshot.Leased, server.Snapshot.Quarantined));
    }

    [Fact]
    [Trait("Conformance", "65")]
    public async Task Reconfigure_SmallerAndDropInConnectionsComeBack_RetiresThemTooBeforeAnybodyIsServed()
    {
        await using var server = await PoolOnServer.CreateAsync(options => (options.MaxSize, options.WatchServer) = (2, false));
        var connections = new[] { await server.Pool.OpenConnectionAsync(_test), await server.Pool.OpenConnectionAsync(_test) };
        server.Pool.Reconfigure(options => options.MaxSize = 1);
        var waiting = server.Pool.RentAsync(_test).AsTask();

        await connections[0].DisposeAsync();
        await Eventually.True(async () => (await server.SessionsAsync()).Length == 1, "one is retired");
        Assert.False(waiting.IsCompleted);

        await connections[1].DisposeAsync();
        await (await waiting).DisposeAsync();
        Assert.Single(await server.SessionsAsync());
    }

    /// <summary>Dapper does that with what it finds open, and many a hand: it lies at rest already when its lease comes back.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    [Trait("Conformance", "65")]
    public async Task Reconfigure_SmallerAndTheirUsersHaveClosedWhatIsLeased_ShrinksAllTheSame(bool aCallerWaits)
    {
        await using var server = await PoolOnServer.CreateAsync(options => (options.MaxSize, options.WatchServer) = (4, false));
        var leases = await server.Pool.RentAsync(4, _test);
        var waiting = aCallerWaits ? server.Pool.RentAsync(_test).AsTask() : null;
        foreach (var lease in leases)
        {
            await lease.Connection.CloseAsync();
        }

        server.Pool.Reconfigure(options => options.MaxSize = 2);

        // So that upkeep has seen that there are too many.
        await OutageKit.PassAsync(TimeSpan.FromSeconds(1), _test);
        await leases.ReturnAllAsync();
        if (waiting is not null)
        {
            await (await waiting).DisposeAsync();
        }

        await server.SessionsBecomeAsync(2);
        Assert.Equal((2, 2L), (server.Snapshot.Idle, server.Snapshot.TotalClosed));
    }

    /// <summary>What a maintenance of the server needs: not one session of the pool, its own included; then all goes on.</summary>
    [Fact]
    [Trait("Conformance", "66")]
    public async Task PauseAsync_UnderLoad_LeavesNoSessionOnTheServerAndFailsNobody()
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 4);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(_test);
        var callers = Enumerable.Range(0, 16).Select(_ => Task.Run(() => CallAsync(server.Pool, stop.Token), _test)).ToArray();
        await Eventually.True(() => server.Snapshot.TotalRents > 100, "there is load");

        for (var i = 0; i < 3; i++)
        {
            await server.Pool.PauseAsync(_test);
            Assert.Equal((0, 0), (server.Snapshot.Leased, server.Snapshot.Idle));
            await Eventually.True(
                async () => (await server.SessionsAsync()).Length == 0 && (await server.ControlAsync()).Length == 0, "no session is left");

            server.Pool.Resume();
            await Eventually.True(async () => (await server.SessionsAsync()).Length == 4, "the pool is back");
        }

        await stop.CancelAsync();
        await Task.WhenAll(callers);
    }

    private static async Task CallAsync(ConnectionPool pool, CancellationToken stop)
    {
        while (!stop.IsCancellationRequested)
        {
            await using var lease = await pool.RentAsync(CancellationToken.None);
            await using var command = lease.CreateCommand("SELECT 1");
            Assert.Equal(1, await command.ExecuteScalarAsync(CancellationToken.None));
        }
    }
}
