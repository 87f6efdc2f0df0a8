using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Integration;

public sealed class ClearTests
{
    private const int NotRenewed = 148;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    [Trait("Conformance", "62")]
    public async Task Clear_WithIdleAndLeased_ClosesIdleNowAndLeasedOnReturnAndKeepsNewOnes()
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 5);
        await server.Pool.FillAsync(3, Cancellation);
        var leased = await server.Pool.RentAsync(Cancellation);
        var old = leased.Session();

        server.Pool.Clear();

        await server.SessionsBecomeAsync(1);
        await using (var young = await server.Pool.RentAsync(Cancellation))
        {
            Assert.NotEqual(old, young.Session());
        }

        await leased.DisposeAsync();
        await server.SessionsBecomeAsync(1);
        Assert.DoesNotContain(old, await server.SessionsAsync());
        Assert.Equal((0, 1, 4L, 3L), (server.Snapshot.Leased, server.Snapshot.Idle, server.Snapshot.TotalOpened, server.Snapshot.TotalClosed));
    }

    [Fact]
    [Trait("Conformance", "62")]
    public async Task Clear_SynchronousReturnAfterIt_ClosesTheConnection()
    {
        await using var server = await PoolOnServer.CreateAsync();
        var lease = await server.Pool.RentAsync(Cancellation);

        server.Pool.Clear();
        lease.Dispose();

        await server.SessionsBecomeAsync(0);
        Assert.Equal((0, 0), (server.Snapshot.Leased, server.Snapshot.Idle));
    }

    [Fact]
    [Trait("Conformance", "63")]
    public async Task Clear_WithWaiters_LetsThemOpenWhenTheOldComeBack()
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 2);
        var leases = await server.Pool.RentAsync(2, Cancellation);
        var old = leases.Select(lease => lease.Session()).ToArray();
        var waiting = server.Pool.RentAsync(2, Cancellation);
        await Eventually.True(() => server.Snapshot.Waiting == 2, "two wait");

        server.Pool.Clear();
        await leases.ReturnAllAsync();

        var served = await waiting;
        Assert.Empty(served.Select(lease => lease.Session()).Intersect(old));
        await served.ReturnAllAsync();
        Assert.Equal(2, server.Snapshot.Idle);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    [Trait("Conformance", "64")]
    public async Task Clear_DuringAnOpen_RetiresThatConnectionAndServesItsWaiterWithANewOne(bool blocking)
    {
        await using var proxy = TcpProxy.Start(await Outside.SharedServerAsync());
        proxy.AcceptDelay = TimeSpan.FromMilliseconds(300);
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1, proxy: proxy);
        var renting = blocking
            ? Task.Factory.StartNew(() => server.Pool.Rent(), Cancellation, TaskCreationOptions.LongRunning, TaskScheduler.Default)
            : server.Pool.RentAsync(Cancellation).AsTask();
        await Eventually.True(() => proxy.Connecting == 1, "an open is under way");

        server.Pool.Clear();

        await using var lease = await renting;
        Assert.Equal(2, proxy.TotalAccepted);
        Assert.Equal(1, proxy.PeakConnections);
        Assert.Equal([lease.Session()], await server.SessionsAsync());
        Assert.Equal((2L, 1L), (server.Snapshot.TotalOpened, server.Snapshot.TotalClosed));
    }

    [Fact]
    public async Task Clear_ThenRent_RunsTheOpenedHookOnEveryNewConnection()
    {
        var opened = 0;
        await using var server = await PoolOnServer.CreateAsync(options => options.PhysicalConnectionOpened = (_, _) =>
        {
            Interlocked.Increment(ref opened);
            return ValueTask.CompletedTask;
        });
        await server.Pool.FillAsync(2, Cancellation);

        server.Pool.Clear();
        await server.Pool.FillAsync(2, Cancellation);

        Assert.Equal(4, opened);
    }

    /// <summary>Npgsql loads the types of a server once for each data source.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Clear_ATypeWasMadeSinceTheFirstSession_NewSessionsKnowIt(bool isMadeAgain)
    {
        var type = $"mood_{Guid.NewGuid():N}";
        await using var server = await PoolOnServer.CreateAsync(options => (options.MaxSize, options.ConfigureDataSource) = (1, builder => builder.MapEnum<Mood>(type)));
        await using (var lease = await server.Pool.RentAsync(Cancellation))
        {
            if (isMadeAgain)
            {
                await lease.DoAsync($"CREATE TYPE {type} AS ENUM ('happy')");
                await lease.Connection.ReloadTypesAsync(Cancellation);
            }
        }

        if (isMadeAgain)
        {
            await using var known = await server.Pool.RentAsync(Cancellation);
            Assert.Equal(Mood.Happy, await known.AskAsync<Mood>($"SELECT 'happy'::{type}"));
            await known.DoAsync($"DROP TYPE {type}");
        }

        await using (var making = await server.Pool.RentAsync(Cancellation))
        {
            await making.DoAsync($"CREATE TYPE {type} AS ENUM ('happy')");
        }

        server.Pool.Clear();

        await using var next = await server.Pool.RentAsync(Cancellation);
        Assert.Equal(Mood.Happy, await next.AskAsync<Mood>($"SELECT 'happy'::{type}"));
        await next.DoAsync($"DROP TYPE {type}");
    }

    [Fact]
    public async Task Resume_ATypeWasMadeDuringThePause_NewSessionsKnowIt()
    {
        var type = $"mood_{Guid.NewGuid():N}";
        await using var server = await PoolOnServer.CreateAsync(options => options.ConfigureDataSource = builder => builder.MapEnum<Mood>(type));
        await server.Pool.FillAsync(1, Cancellation);
        await server.Pool.PauseAsync(Cancellation);
        var outside = await Outside.OfSharedServerAsync();
        await outside.DoAsync($"CREATE TYPE {type} AS ENUM ('happy')");
        server.Pool.Resume();

        await using var next = await server.Pool.RentAsync(Cancellation);

        Assert.Equal(Mood.Happy, await next.AskAsync<Mood>($"SELECT 'happy'::{type}"));
        await next.DoAsync($"DROP TYPE {type}");
    }

    [Fact]
    public async Task Clear_TheConfigurationThrows_EndsWhatIsIdleAllTheSame()
    {
        var isAtFault = false;
        await using var server = await PoolOnServer.CreateAsync(options => options.ConfigureDataSource = _ =>
        {
            if (Volatile.Read(ref isAtFault))
            {
                throw new InvalidDataException("no such file");
            }
        });
        await server.Pool.FillAsync(2, Cancellation);
        Volatile.Write(ref isAtFault, true);

        server.Pool.Clear();

        await server.SessionsBecomeAsync(0);
        await using var lease = await server.Pool.RentAsync(Cancellation);
        Assert.Single(server.Logs.Entries, entry => entry.EventId.Id == NotRenewed);
        Assert.Equal((1, 0, 3L, 2L), (server.Snapshot.Leased, server.Snapshot.Idle, server.Snapshot.TotalOpened, server.Snapshot.TotalClosed));
    }

    private enum Mood
    {
        Happy,
    }
}
