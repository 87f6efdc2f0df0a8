using Npgsql;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Integration;

public sealed class OpeningTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    [Trait("Conformance", "8")]
    [Trait("Conformance", "12")]
    public async Task Rent_ServerIsDownAndTheBreakerIsOff_ThrowsNpgsqlsErrorAndLosesNoPlace(bool blocking)
    {
        await using var proxy = TcpProxy.Start(await Outside.SharedServerAsync());
        proxy.RefuseNew = true;
        await using var server = await PoolOnServer.CreateAsync(
            options => (options.MaxSize, options.MaxConcurrentOpens, options.Breaker.Enabled) = (3, 2, false), proxy: proxy);

        for (var i = 0; i < 20; i++)
        {
            var error = blocking
                ? Assert.Throws<NpgsqlException>(() => server.Pool.Rent())
                : await Assert.ThrowsAsync<NpgsqlException>(async () => await server.Pool.RentAsync(Cancellation));
            Assert.Same(error, server.Snapshot.LastConnectError);
        }

        Assert.Equal((0, 0, 0, 0), Counts(server));
        proxy.RefuseNew = false;
        var leases = await server.Pool.RentAsync(3, Cancellation);
        Assert.Equal(3, leases.Select(lease => lease.Session()).Distinct().Count());
        Assert.Null(server.Snapshot.LastConnectError);
        await leases.ReturnAllAsync();
    }

    [Fact]
    [Trait("Conformance", "8")]
    [Trait("Conformance", "9")]
    [Trait("Conformance", "85")]
    public async Task RentAsync_ManyAtOnceWhileTheServerIsDown_AllLearnThatItCannotBeReached()
    {
        await using var proxy = TcpProxy.Start(await Outside.SharedServerAsync());
        proxy.RefuseNew = true;
        await using var server = await PoolOnServer.CreateAsync(options => (options.MaxSize, options.MaxConcurrentOpens) = (2, 1), proxy: proxy);

        var rents = Enumerable.Range(0, 40).Select(_ => server.Pool.RentAsync(Cancellation).AsTask()).ToArray();

        foreach (var rent in rents)
        {
            var open = await Assert.ThrowsAsync<CircuitOpenException>(() => rent);
            Assert.IsType<NpgsqlException>(open.InnerException);
            Assert.Contains("cannot connect", open.Message, StringComparison.Ordinal);
        }

        await Eventually.True(() => Counts(server) == (0, 0, 0, 0), "no place is lost");
        Assert.Equal(0, server.Snapshot.TotalTimeouts);
    }

    [Fact]
    public async Task RentAsync_UnknownDatabase_ThrowsWhatTheServerSaid()
    {
        await using var server = await PoolOnServer.CreateAsync(text: text => text.Database = "no_such_database");

        var error = await Assert.ThrowsAsync<PostgresException>(async () => await server.Pool.RentAsync(Cancellation));

        Assert.Equal(PostgresErrorCodes.InvalidCatalogName, error.SqlState);
        Assert.Equal((0, 0, 0, 0), Counts(server));
    }

    [Fact]
    public async Task Rent_UnknownRole_ThrowsWhatTheServerSaid()
    {
        await using var server = await PoolOnServer.CreateAsync(text: text => text.Username = "no_such_role");

        var error = Assert.Throws<PostgresException>(() => server.Pool.Rent());

        Assert.Equal(PostgresErrorCodes.InvalidAuthorizationSpecification, error.SqlState);
        Assert.Equal((0, 0, 0, 0), Counts(server));
    }

    [Fact]
    [Trait("Conformance", "83")]
    public async Task RentAsync_AfterTheServerWasRestarted_RecoversWithinAFewRents()
    {
        await using var postgres = await PostgresServer.StartAsync(cancellationToken: Cancellation);
        await using var server = await PoolOnServer.CreateAsync(options => (options.MinSize, options.MaxSize) = (2, 3), server: postgres.ConnectionString);
        await server.Pool.FillAsync(3, Cancellation);

        await postgres.StopAsync(StopMode.Immediate);
        await Assert.ThrowsAnyAsync<NpgsqlException>(() => UseAsync(server));
        await postgres.StartAgainAsync(Cancellation);

        await Eventually.True(() => SucceedsAsync(server), "a rent is served");
        for (var i = 0; i < 10; i++)
        {
            await UseAsync(server);
        }

        await Eventually.True(async () => (await server.SessionsAsync()).Length >= 2, "the minimum is there again");
    }

    private static async Task UseAsync(PoolOnServer server)
    {
        await using var lease = await server.Pool.RentAsync(Cancellation);
        Assert.Equal(1, await lease.AskAsync<int>("SELECT 1"));
    }

    private static async Task<bool> SucceedsAsync(PoolOnServer server)
    {
        await UseAsync(server);
        return true;
    }

    private static (int Leased, int Idle, int Opening, int Waiting) Counts(PoolOnServer server)
        => (server.Snapshot.Leased, server.Snapshot.Idle, server.Snapshot.Opening, server.Snapshot.Waiting);
}
