using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.Outages;

/// <summary>The password changes on the server and in the provider that was given to Npgsql, while the pool lives on.</summary>
public sealed class CredentialRotationTests : IAsyncLifetime
{
    private const string First = "first-secret-marker";
    private const string Second = "second-secret-marker";
    private const string Wrong = "wrong-secret-marker";
    private const int MaxSize = 4;

    private readonly List<string> _said = [];
    private PostgresServer _postgres = null!;
    private Outside _outside = null!;
    private volatile string _secret = First;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _postgres = await PostgresServer.StartAsync(
            options =>
            {
                options.HostBasedAccess.Add("host all app 127.0.0.1/32 scram-sha-256");
                options.HostBasedAccess.Add("host all elder 127.0.0.1/32 md5");
            },
            Cancellation);
        _outside = new Outside(_postgres.ConnectionString);
        await _outside.DoAsync($"CREATE ROLE app LOGIN PASSWORD '{First}'; SET password_encryption = md5; CREATE ROLE elder LOGIN PASSWORD '{First}'");
    }

    public ValueTask DisposeAsync() => _postgres.DisposeAsync();

    [Theory]
    [InlineData("app", false)]
    [InlineData("elder", false)]
    [InlineData("app", true)]
    [Trait("Conformance", "98")]
    [Trait("Conformance", "102")]
    public async Task Rotation_OldSessionsGoOnNewOnesUseTheNewSecretAndClearReplacesTheOld(string role, bool periodic)
    {
        await using var server = await CreateAsync(role, periodic: periodic);
        await server.Pool.FillAsync(2, Cancellation);
        var watching = await server.WatchingAsync();
        var old = await server.SessionsAsync();

        await RotateAsync(role, Second, periodic);

        var sessions = await server.BurstAsync(MaxSize, Cancellation);
        Assert.Equal(2, old.Length);
        Assert.Superset(old.ToHashSet(), sessions.ToHashSet());

        server.Pool.Clear();
        Assert.Empty((await server.BurstAsync(MaxSize, Cancellation)).Intersect(sessions));
        Assert.Equal(MaxSize, (int)server.Snapshot.TotalClosed);

        // What the pool asks the server beside its leases comes with the new secret as well.
        await server.Pool.GetServerReportAsync(Cancellation);
        await server.WatchingAsync(other: watching);
        Assert.Null(server.Snapshot.LastConnectError);
        AssertSilent(server);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    [Trait("Conformance", "98")]
    [Trait("Conformance", "102")]
    public async Task WrongPassword_OfManyRents_SurfacesAtOnceToEveryCallerAndIsNoOutage(bool hasConnections)
    {
        await using var server = await CreateAsync("app", tripAfter: TimeSpan.Zero);
        var held = hasConnections ? await server.Pool.RentAsync(1, Cancellation) : [];
        _secret = Wrong;

        var rents = Enumerable.Range(0, 12).Select(_ => server.Pool.RentAsync(Cancellation).AsTask())
            .Append(Task.Factory.StartNew(() => server.Pool.Rent(), Cancellation, TaskCreationOptions.LongRunning, TaskScheduler.Default));

        foreach (var rent in rents.ToArray())
        {
            // Far less than their budget of a minute.
            var error = await Assert.ThrowsAsync<PostgresException>(() => rent.WaitAsync(TimeSpan.FromSeconds(20), TimeProvider.System, Cancellation));
            Assert.Equal(PostgresErrorCodes.InvalidPassword, error.SqlState);
            _said.Add($"{error} {string.Join(' ', error.Data.Values.Cast<object?>())}");
        }

        Assert.Equal((CircuitState.Closed, 0), (server.Snapshot.Circuit, server.Logged(OutageKit.CircuitOpened)));
        foreach (var lease in held)
        {
            await lease.DoAsync("SELECT 1");
            await lease.DisposeAsync();
            await server.UseAsync(Cancellation);
        }

        _secret = First;
        await server.BurstAsync(MaxSize, Cancellation);
        AssertSilent(server);
    }

    /// <summary>A vault that is sealed is no server that is gone: what it threw is what the caller needs to see.</summary>
    [Fact]
    [Trait("Conformance", "102")]
    public async Task PasswordProvider_Throws_SurfacesAtOnceAndIsNoOutage()
    {
        await using var server = await CreateAsync("app", tripAfter: TimeSpan.Zero);
        await server.UseAsync(Cancellation);
        server.Pool.Clear();
        _secret = "throw";

        var error = await Assert.ThrowsAnyAsync<Exception>(
            async () => await server.Pool.RentAsync(Cancellation).AsTask().WaitAsync(TimeSpan.FromSeconds(20), TimeProvider.System, Cancellation));

        Assert.Contains("the vault is sealed", error.ToString(), StringComparison.Ordinal);
        Assert.Equal(CircuitState.Closed, server.Snapshot.Circuit);
        _secret = First;
        await server.UseAsync(Cancellation);
    }

    /// <summary>A service that gives out tokens has outages too.</summary>
    [Fact]
    public async Task PasswordProvider_ItsServiceIsAwayForAMoment_IsRiddenThrough()
    {
        await using var server = await CreateAsync("app", tripAfter: TimeSpan.FromSeconds(30));
        await server.UseAsync(Cancellation);
        server.Pool.Clear();
        _secret = "away";

        var waiting = server.Pool.RentAsync(Cancellation).AsTask();
        await Eventually.True(() => server.Snapshot.LastConnectError is not null, "the provider was asked");
        Assert.False(waiting.IsCompleted);
        _secret = First;

        await (await waiting).DisposeAsync();
    }

    private Task<PoolOnServer> CreateAsync(string role, bool periodic = false, TimeSpan? tripAfter = null)
        => PoolOnServer.CreateAsync(
            options =>
            {
                (options.MaxSize, options.MinSize, options.AcquireTimeout) = (MaxSize, tripAfter is null ? 0 : 2, TimeSpan.FromMinutes(1));
                options.Breaker.TripAfter = tripAfter ?? options.Breaker.TripAfter;
                options.ConfigureDataSource = periodic ? UsePeriodically : UseAlways;
            },
            text => text.Username = role,
            server: _postgres.ConnectionString);

    private void UseAlways(NpgsqlDataSourceBuilder builder) => builder.UsePasswordProvider(_ => Secret(), (_, _) => ValueTask.FromResult(Secret()));

    private void UsePeriodically(NpgsqlDataSourceBuilder builder)
        => builder.UsePeriodicPasswordProvider((_, _) => ValueTask.FromResult(Secret()), TimeSpan.FromMilliseconds(50), TimeSpan.FromMilliseconds(50));

    private string Secret() => _secret switch
    {
        "throw" => throw new InvalidOperationException("the vault is sealed"),
        "away" => throw new HttpRequestException("503 Service Unavailable"),
        var secret => secret,
    };

    private async Task RotateAsync(string role, string secret, bool periodic)
    {
        var encryption = role == "elder" ? "SET password_encryption = md5; " : "";
        await _outside.DoAsync($"{encryption}ALTER ROLE {role} PASSWORD '{secret}'");
        _secret = secret;
        if (periodic)
        {
            // Npgsql asks when its time has come, and nothing tells.
            await OutageKit.PassAsync(TimeSpan.FromSeconds(1), Cancellation);
        }
    }

    private void AssertSilent(PoolOnServer server)
    {
        _said.Add($"{server.Snapshot} {server.Snapshot.LastConnectError} {server.Pool.DumpFlightRecorder()}");
        Assert.NotEmpty(server.Logs.Entries);
        _said.AddRange(server.Logs.Entries.Select(entry => $"{entry} {entry.Exception} {string.Join(' ', entry.State)}"));
        Assert.DoesNotContain(_said, said => said.Contains("-secret-marker", StringComparison.Ordinal));
    }
}
