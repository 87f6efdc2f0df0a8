using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Integration;

public sealed class RentAndReturnTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    [Trait("Conformance", "2")]
    public async Task RentAsync_AfterAReturn_ReusesTheSessionInsteadOfOpeningAnother()
    {
        await using var server = await PoolOnServer.CreateAsync();
        var first = await server.Pool.RentAsync(Cancellation);
        var session = first.Session();
        await first.DisposeAsync();

        for (var i = 0; i < 5; i++)
        {
            await using var lease = await server.Pool.RentAsync(Cancellation);

            Assert.Equal(session, await lease.AskAsync<int>("SELECT pg_backend_pid()"));
        }

        Assert.Equal([session], await server.SessionsAsync());
        Assert.Equal(1, server.Snapshot.TotalOpened);
    }

    [Fact]
    [Trait("Conformance", "2")]
    public async Task Rent_AfterAReturn_ReusesTheSessionInsteadOfOpeningAnother()
    {
        await using var pool = ConnectionPool.Create(await Outside.SharedServerAsync());

        int session;
        using (var first = pool.Rent())
        {
            session = first.Ask<int>("SELECT pg_backend_pid()");
        }

        using var second = pool.Rent();
        Assert.Equal(session, second.Ask<int>("SELECT pg_backend_pid()"));
        Assert.Equal(1, pool.GetSnapshot().TotalOpened);
    }

    [Fact]
    [Trait("Conformance", "31")]
    public async Task Using_BodyThrows_ReturnsTheConnection()
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1);

        async Task BodyAsync()
        {
            await using var lease = await server.Pool.RentAsync(Cancellation);
            await lease.DoAsync("SELECT 1 / 0");
        }

        for (var i = 0; i < 5; i++)
        {
            await Assert.ThrowsAsync<Npgsql.PostgresException>(BodyAsync);
        }

        Assert.Equal(1, server.Snapshot.Idle);
        Assert.Equal(1, server.Snapshot.TotalOpened);
    }

    [Fact]
    [Trait("Conformance", "32")]
    public async Task Using_BodyIsCancelled_ReturnsAHealthyConnection()
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1);

        async Task BodyAsync(CancellationToken cancellationToken)
        {
            await using var lease = await server.Pool.RentAsync(cancellationToken);
            await using var command = lease.CreateCommand("SELECT pg_sleep(60)");
            await command.ExecuteNonQueryAsync(cancellationToken);
        }

        for (var i = 0; i < 3; i++)
        {
            using var impatience = new CancellationTokenSource(TimeSpan.FromMilliseconds(50), TimeProvider.System);
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => BodyAsync(impatience.Token));

            await using var next = await server.Pool.RentAsync(Cancellation);
            Assert.Equal(7, await next.AskAsync<int>("SELECT 7"));
        }

        Assert.Equal((0, 1), (server.Snapshot.Leased, server.Snapshot.Idle));
    }

    [Fact]
    public async Task TryRent_NothingIdle_NeitherWaitsNorOpens()
    {
        await using var server = await PoolOnServer.CreateAsync();

        Assert.False(server.Pool.TryRent(out var none));
        Assert.Equal(default, none);
        Assert.Equal(0, server.Snapshot.Opening);

        await server.Pool.FillAsync(1, Cancellation);
        Assert.True(server.Pool.TryRent(out var lease));
        Assert.False(server.Pool.TryRent(out _));
        Assert.Equal(lease.Session(), lease.Ask<int>("SELECT pg_backend_pid()"));
        lease.Dispose();
        Assert.Single(await server.SessionsAsync());
    }

    [Fact]
    [Trait("Conformance", "71")]
    public async Task AnyRent_AfterDispose_ThrowsPoolClosed()
    {
        var server = await PoolOnServer.CreateAsync();
        await server.Pool.FillAsync(2, Cancellation);
        await server.DisposeAsync();

        await Assert.ThrowsAsync<PoolClosedException>(async () => await server.Pool.RentAsync(Cancellation));
        await Assert.ThrowsAsync<PoolClosedException>(async () => await server.Pool.RentAsync(new RentOptions(), Cancellation));
        await Assert.ThrowsAsync<PoolClosedException>(async () => await server.Pool.OpenConnectionAsync(Cancellation));
        await Assert.ThrowsAsync<PoolClosedException>(() => server.Pool.WarmUpAsync(Cancellation));
        Assert.Throws<PoolClosedException>(() => server.Pool.Rent());
        Assert.Throws<PoolClosedException>(() => server.Pool.Rent(new RentOptions { AcquireTimeout = TimeSpan.Zero }));
        Assert.Throws<PoolClosedException>(() => server.Pool.TryRent(out _));
        Assert.Throws<PoolClosedException>(() => server.Pool.OpenConnection());
        await server.SessionsBecomeAsync(0);
    }

    [Fact]
    public async Task CloseOfTheConnection_LeaseStillOut_LeavesThePlaceTakenUntilTheLeaseComesBack()
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1);
        var lease = await server.Pool.RentAsync(Cancellation);

        await lease.Connection.CloseAsync();

        Assert.Equal((1, 0), (server.Snapshot.Leased, server.Snapshot.Idle));
        Assert.False(server.Pool.TryRent(out _));
        await lease.DisposeAsync();
        Assert.True(server.Pool.TryRent(out var next));
        Assert.Equal(1, next.Ask<int>("SELECT 1"));
        next.Dispose();
        await Eventually.True(() => server.Snapshot is { Idle: 1, TotalOpened: 1 }, "the connection lies at rest again");
    }
}
