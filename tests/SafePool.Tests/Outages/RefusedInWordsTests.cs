using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.Outages;

/// <summary>Somebody answers no, in his own words, to one connection more: a limit for a pool that has others, an outage for one that has none, never a mistake.</summary>
public sealed class RefusedInWordsTests : IAsyncLifetime
{
    private const string SupavisorFull = "MaxClientsInSessionMode: max clients reached - in Session mode max clients are limited to pool_size";

    private string _server = "";

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => _server = await Outside.SharedServerAsync();

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    [Theory]
    [InlineData("XX000", SupavisorFull, true)]
    [InlineData("53300", "sorry, too many clients already", true)]
    [InlineData("08000", "Timed-out waiting to acquire database connection.", true)]
    [InlineData("58000", "no seat for you", true)]
    [InlineData("ZZ999", "words that nobody has heard", true)]
    [InlineData("55000", "database is not currently accepting connections", true)]
    [InlineData("XX000", SupavisorFull, false)]
    [InlineData("ZZ999", "words that nobody has heard", false)]
    public async Task RentAsync_RoomForThreeOfTwelve_ServesAllTwelve(string state, string words, bool breaker)
    {
        var full = new FullPooler(3, Port(), state, words);
        await using var fake = FakeServer.Start(full.ServeAsync);
        await using var server = await CreateAsync(fake, options => options.Breaker.Enabled = breaker);

        // So that with the breaker off, too, there is something to serve from when the fourth is refused.
        await server.UseAsync(Cancellation);
        await Task.WhenAll(Enumerable.Range(0, 12).Select(_ => UseSlowlyAsync(server)));

        Assert.True(full.Refused > 0);
        Assert.InRange(server.Snapshot.EffectiveMaxSize, 1, 4);
        Assert.Equal((CircuitState.Closed, 0L), (server.Snapshot.Circuit, server.Snapshot.TotalTimeouts));
        var said = (await server.Logs.WaitForAsync(entry => entry.EventId.Id == OutageKit.ServerFull)).Message;
        Assert.Contains($"({state}: {words})", said, StringComparison.Ordinal);
        full.Room = 100;
        await server.BurstAsync(12, Cancellation);
    }

    [Theory]
    [InlineData("XX000", SupavisorFull)]
    [InlineData("ZZ999", "words that nobody has heard")]
    [InlineData("57P03", "the database system is starting up")]
    [InlineData("28000", "odyssey: c1a2b3: failed to make auth query")]
    [InlineData("28000", "odyssey: c1a2b3: frontend auth: failed to make auth query")]
    [InlineData("3D000", "Unable to retrieve server parameters for database: app, user: app. The database server may be unavailable or misconfigured. Please try again later or contact your database administrator.")]
    [InlineData("3D000", "Auth query service temporarily unavailable for database: app. Please try again later.")]
    [InlineData("28000", "words that nobody has heard: try again later")]
    [InlineData("42501", "the authorization service is temporarily unavailable")]
    public async Task RentAsync_NobodyIsLetIn_IsRiddenThroughAndThenToldWithTheCause(string state, string words)
    {
        var full = new FullPooler(0, Port(), state, words);
        await using var fake = FakeServer.Start(full.ServeAsync);
        await using var server = await CreateAsync(fake, options => options.AcquireTimeout = TimeSpan.FromSeconds(30));
        var waiting = server.UseAsync(Cancellation);
        await Eventually.True(() => full.Refused > 0, "it was refused");
        Assert.False(waiting.IsCompleted);

        full.Room = 100;
        await waiting;

        full.Room = 0;
        server.Pool.Clear();
        var error = await Assert.ThrowsAsync<CircuitOpenException>(() => server.UseAsync(Cancellation));
        Assert.Contains(words, error.ToString(), StringComparison.Ordinal);
        full.Room = 100;
        await Eventually.True(() => server.Snapshot.Circuit == CircuitState.Closed, "the circuit closes by itself");
        await server.UseAsync(Cancellation);
    }

    [Theory]
    [InlineData("28P01", "password authentication failed for user \"app\"")]
    [InlineData("28000", "role \"app\" is not permitted to log in")]
    [InlineData("3D000", "database \"app\" does not exist")]
    [InlineData("42501", "permission denied for database \"app\"")]
    [InlineData("22023", "invalid value for parameter \"work_mem\"")]
    [InlineData("0A000", "unsupported frontend protocol 3.0")]
    [InlineData("XX000", "password authentication failed for user 'app'")]
    [InlineData("28000", "role \"temporarily unavailable\" is not permitted to log in")]
    [InlineData("3D000", "database \"unavailable\" does not exist")]
    [InlineData("3D000", "odyssey: c1a2b3: route for 'app.app' is not found")]
    [InlineData("28000", "odyssey: c1a2b3: TLS connection required")]
    public async Task RentAsync_ItIsInVain_SaysSoAtOnce(string state, string words)
    {
        await using var fake = FakeServer.Start(session => session.RefuseAsync(state, words));
        await using var server = await CreateAsync(fake, options => options.AcquireTimeout = TimeSpan.FromMinutes(1));

        var error = await Assert.ThrowsAnyAsync<NpgsqlException>(
            () => server.UseAsync(Cancellation).WaitAsync(TimeSpan.FromSeconds(20), TimeProvider.System, Cancellation));

        Assert.Contains(words, error.Message, StringComparison.Ordinal);
        Assert.Equal(CircuitState.Closed, server.Snapshot.Circuit);
    }

    private static async Task UseSlowlyAsync(PoolOnServer server)
    {
        await using var lease = await server.Pool.RentAsync(Cancellation);
        await lease.DoAsync("SELECT pg_sleep(0.2)");
    }

    private int Port() => new NpgsqlConnectionStringBuilder(_server).Port;

    private Task<PoolOnServer> CreateAsync(FakeServer fake, Action<ConnectionPoolOptions> configure)
        => PoolOnServer.CreateAsync(
            options =>
            {
                (options.MaxSize, options.WatchServer, options.AcquireTimeout) = (12, false, TimeSpan.FromSeconds(30));
                configure(options);
            },
            text => (text.Port, text.SslMode, text.GssEncryptionMode) = (fake.Port, SslMode.Disable, GssEncryptionMode.Disable),
            server: _server);
}
