using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.Outages;

/// <summary>Opens that hang for ever go on being counted by Npgsql's own pool, whose limit they must not use up.</summary>
public sealed class LostOpensTests : IAsyncLifetime
{
    private const string Secret = "lost-opens-secret-marker";

    // What Npgsql has room for beyond MaxSize is ten.
    private const int MaxSize = 2;
    private const int Lost = MaxSize + 10;

    // That nothing here comes near to on a busy machine.
    private static readonly TimeSpan _bound = TimeSpan.FromSeconds(60);

    private readonly Hang _hang = new();
    private PostgresServer _postgres = null!;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _postgres = await PostgresServer.StartAsync(options => options.HostBasedAccess.Add("host all app 127.0.0.1/32 scram-sha-256"), Cancellation);
        await new Outside(_postgres.ConnectionString).DoAsync($"CREATE ROLE app LOGIN PASSWORD '{Secret}'");
    }

    public ValueTask DisposeAsync()
    {
        _hang.LetGo();
        return _postgres.DisposeAsync();
    }

    [Theory]
    [InlineData("password provider", false, false)]
    [InlineData("password provider", true, false)]
    [InlineData("password provider", false, true)]
    [InlineData("initializer", false, false)]
    public async Task Rent_AsManyOpensAsNpgsqlHasRoomForHangForEver_TheNextAreServed(string where, bool isCleared, bool severalHosts)
    {
        await using var server = await CreateAsync(
            options => _hang.Install(options, where, holdsThread: false, Secret),
            text => text.Host = severalHosts ? "127.0.0.1,localhost" : text.Host);
        _hang.Next(Lost);
        await Eventually.True(() => RentInVainAsync(server), "so many opens were given up", _bound);
        if (isCleared)
        {
            server.Pool.Clear();
        }

        await AssertServesAllAsync(server);

        var lost = _hang.Hanging;
        Assert.True(lost >= Lost, $"{lost} hang");
        _hang.LetGo();
        await Eventually.True(() => _hang.Hanging == 0 && server.Logged(OutageKit.OpenEndedLate) >= lost, "all of them have ended after all", _bound);
        await Outstanding.NoneAsync(server.Pool, _bound);
        await AssertServesAllAsync(server);
        await server.SessionsBecomeAsync(MaxSize);
    }

    /// <summary>Every open of a data source awaits its first password, in the pool and beside it.</summary>
    [Fact]
    public async Task Clear_TheFirstRefreshOfAPeriodicPasswordProviderHangsForEver_TheNextOpenIsServed()
    {
        await using var server = await CreateAsync(options => options.ConfigureDataSource = builder => builder.UsePeriodicPasswordProvider(
            async (_, _) =>
            {
                await _hang.PassAsync(holdsThread: false);
                return Secret;
            },
            TimeSpan.FromHours(1),
            TimeSpan.FromHours(1)));
        await AssertServesAllAsync(server);
        _hang.Next(int.MaxValue);
        server.Pool.Clear();
        await Assert.ThrowsAnyAsync<Exception>(() => RentAsync(server));
        _hang.Next(0);

        server.Pool.Clear();

        await AssertServesAllAsync(server);
    }

    /// <summary>The same without a word to the pool.</summary>
    [Fact]
    public async Task Rent_TheFirstRefreshOfAPeriodicPasswordProviderHangsForEver_IsServedInTheEnd()
    {
        _hang.Next(int.MaxValue);
        await using var server = await CreateAsync(options => options.ConfigureDataSource = builder => builder.UsePeriodicPasswordProvider(
            async (_, _) =>
            {
                await _hang.PassAsync(holdsThread: false);
                return Secret;
            },
            TimeSpan.FromHours(1),
            TimeSpan.FromHours(1)));
        await Assert.ThrowsAnyAsync<Exception>(() => RentAsync(server));
        _hang.Next(0);

        await Eventually.True(
            async () => await TryAsync(server) is null,
            "it is served",
            _bound);
    }

    [Fact]
    public async Task DisposeAsync_APeriodicPasswordProviderHoldsItsThread_Ends()
    {
        var server = await CreateAsync(options => options.ConfigureDataSource = builder => builder.UsePeriodicPasswordProvider(
            async (_, _) =>
            {
                await _hang.PassAsync(holdsThread: true);
                return Secret;
            },
            TimeSpan.FromMilliseconds(100),
            TimeSpan.FromMilliseconds(100)));
        await AssertServesAllAsync(server);
        _hang.Next(1);
        await Eventually.True(() => _hang.Hanging == 1, "it holds its thread", _bound);

        await server.DisposeAsync().AsTask().WaitAsync(_bound, TimeProvider.System, Cancellation);

        await server.SessionsBecomeAsync(0);
    }

    private static async Task AssertServesAllAsync(PoolOnServer server)
    {
        var leases = new List<Lease>();
        for (var count = 0; count < MaxSize; count++)
        {
            leases.Add(await RentPatientlyAsync(server));
        }

        Assert.All(await Task.WhenAll(leases.Select(lease => lease.AskAsync<int>("SELECT 1"))), answer => Assert.Equal(1, answer));
        await leases.ReturnAllAsync();
    }

    private static Task<Lease> RentAsync(PoolOnServer server)
        => Bounded(server.Pool.RentAsync(Cancellation).AsTask());

    /// <summary>On a busy machine one open or other takes longer than ConnectTimeout, and the breaker is off.</summary>
    private static async Task<Lease> RentPatientlyAsync(PoolOnServer server)
    {
        for (var left = 4; ; left--)
        {
            try
            {
                return await RentAsync(server);
            }
            catch (NpgsqlException) when (left > 0)
            {
                // Once more.
            }
        }
    }

    private static Task<T> Bounded<T>(Task<T> task) => task.WaitAsync(_bound, TimeProvider.System, Cancellation);

    private static async Task<Exception?> TryAsync(PoolOnServer server)
    {
        try
        {
            await using var lease = await RentAsync(server);
            return null;
        }
        catch (Exception error)
        {
            return error;
        }
    }

    /// <summary>As many rents as there are places. True once all has hung that is to hang.</summary>
    private static async Task<bool> RentInVainAsync(PoolOnServer server)
    {
        await Task.WhenAll(Enumerable.Range(0, MaxSize).Select(_ => TryAsync(server)));
        return server.Logged(OutageKit.OpenFailed) >= Lost;
    }

    private Task<PoolOnServer> CreateAsync(Action<ConnectionPoolOptions> configure, Action<NpgsqlConnectionStringBuilder>? text = null)
        => PoolOnServer.CreateAsync(
            options =>
            {
                (options.MaxSize, options.ConnectTimeout, options.AcquireTimeout, options.WatchServer) = (MaxSize, TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(20), false);
                options.Breaker.Enabled = false;
                configure(options);
            },
            builder =>
            {
                builder.Username = "app";
                text?.Invoke(builder);
            },
            server: _postgres.ConnectionString);
}
