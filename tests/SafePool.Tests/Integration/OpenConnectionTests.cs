using System.Data;
using Npgsql;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Integration;

/// <summary>The drop-in for <c>NpgsqlDataSource.OpenConnection</c>.</summary>
public sealed class OpenConnectionTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(true, true)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    [InlineData(false, false)]
    public async Task CloseOrDispose_OfTheConnection_ReturnsItOnce(bool blocking, bool closes)
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1);

        for (var round = 0; round < 3; round++)
        {
            var connection = blocking ? server.Pool.OpenConnection() : await server.Pool.OpenConnectionAsync(Cancellation);
            Assert.Equal(round, await connection.AskAsync<int>($"SELECT {round}"));
            Assert.Equal((1, 0), (server.Snapshot.Leased, server.Snapshot.Idle));

            await EndAsync(connection, blocking, closes);

            Assert.Equal((0, 1), (server.Snapshot.Leased, server.Snapshot.Idle));
            await using var next = await server.Pool.RentAsync(Cancellation);
            await EndAsync(connection, blocking, closes);
            connection.Dispose();
            Assert.Equal((1, 0), (server.Snapshot.Leased, server.Snapshot.Idle));
            Assert.Equal(1, await next.AskAsync<int>("SELECT 1"));
        }

        Assert.Equal(1, server.Snapshot.TotalOpened);
    }

    [Fact]
    public async Task Open_OfAConnectionThatWasClosed_IsRefused()
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 2);
        var connection = await server.Pool.OpenConnectionAsync(Cancellation);
        await connection.CloseAsync();

        var error = await Assert.ThrowsAsync<InvalidOperationException>(() => connection.OpenAsync(Cancellation));
        Assert.Contains("Open another one with OpenConnectionAsync", error.Message, StringComparison.Ordinal);
        Assert.Throws<InvalidOperationException>(connection.Open);

        Assert.Equal((0, 1), (server.Snapshot.Leased, server.Snapshot.Idle));
        Assert.Single(await server.SessionsAsync());

        // What the opens had taken lies at rest once, and nobody shares it.
        await using (var one = await server.Pool.RentAsync(Cancellation))
        await using (var other = await server.Pool.RentAsync(Cancellation))
        {
            Assert.NotEqual(one.Session(), other.Session());
            await Assert.ThrowsAsync<InvalidOperationException>(() => connection.OpenAsync(Cancellation));
        }

        await server.SessionsBecomeAsync(2);
        Assert.Equal((0, 2), (server.Snapshot.Leased, server.Snapshot.Idle));
    }

    [Fact]
    [Trait("Conformance", "48")]
    public async Task BackendTerminated_WhileTheConnectionIsOut_FreesThePlaceAndTheNextGetsAFreshOne()
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1);
        var connection = await server.Pool.OpenConnectionAsync(Cancellation);
        var session = connection.ProcessID;
        await server.TerminateAsync(session);

        await Assert.ThrowsAnyAsync<NpgsqlException>(() => connection.AskAsync<int>("SELECT 1"));
        await connection.DisposeAsync();

        await using var next = await server.Pool.OpenConnectionAsync(Cancellation);
        Assert.NotEqual(session, next.ProcessID);
        Assert.Equal(1, await next.AskAsync<int>("SELECT 1"));
        Assert.Equal((1, 2L), (server.Snapshot.Leased, server.Snapshot.TotalOpened));
    }

    [Fact]
    public async Task BackendTerminated_ConnectionDisposedAtOnce_IsCountedAsClosedAndNeverAsIdle()
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1);

        for (var round = 1; round <= 10; round++)
        {
            var connection = await server.Pool.OpenConnectionAsync(Cancellation);
            await server.TerminateAsync(connection.ProcessID);
            await Assert.ThrowsAnyAsync<NpgsqlException>(() => connection.AskAsync<int>("SELECT 1"));
            await connection.DisposeAsync();

            await Eventually.True(() => server.Snapshot.Leased == 0, "the place is free");
            Assert.Equal((0, round), (server.Snapshot.Idle, server.Snapshot.TotalClosed));
        }
    }

    [Fact]
    public async Task StrictReset_DropsPreparedStatementsBeforeTheNextUse()
    {
        await using var server = await PoolOnServer.CreateAsync(options => (options.MaxSize, options.Reset) = (1, SessionReset.Strict));
        await using (var connection = await server.Pool.OpenConnectionAsync(Cancellation))
        {
            await using var own = new NpgsqlCommand("SELECT 1", connection);
            await own.PrepareAsync(Cancellation);
            Assert.Equal(1, await connection.AskAsync<int>("PREPARE left_behind AS SELECT 1; SELECT 1"));
        }

        await using var next = await server.Pool.OpenConnectionAsync(Cancellation);

        Assert.Equal(0L, await next.AskAsync<long>("SELECT count(*) FROM pg_prepared_statements"));
        Assert.Equal(1, server.Snapshot.TotalOpened);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    [Trait("Conformance", "37")]
    [Trait("Conformance", "41")]
    public async Task Dispose_WithATransactionAndStateLeftBehind_NoneReachesTheNext(bool blocking)
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1);
        var connection = await server.Pool.OpenConnectionAsync(Cancellation);
        Assert.Equal(1, await connection.AskAsync<int>("SET work_mem = '7MB'; SELECT 1"));
        Assert.Equal(1, await connection.AskAsync<int>("BEGIN; CREATE TABLE never_committed (id int); SELECT 1"));

        await EndAsync(connection, blocking, closes: false);

        await using var next = await server.Pool.RentAsync(Cancellation);
        Assert.Equal("4MB", await next.AskAsync<string>("SHOW work_mem"));
        Assert.True(await next.AskAsync<bool>("SELECT to_regclass('never_committed') IS NULL"));
        Assert.Equal(1, server.Snapshot.TotalOpened);
    }

    [Fact]
    public async Task Dispose_ByManyAtOnce_KeepsTheCountsExact()
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 3);

        await Task.WhenAll(Enumerable.Range(0, 200).Select(i => Task.Run(
            async () =>
            {
                await using var connection = await server.Pool.OpenConnectionAsync(Cancellation);
                Assert.Equal(i, await connection.AskAsync<int>($"SELECT {i}"));
            },
            Cancellation)));

        await Eventually.True(() => server.Snapshot is { Leased: 0, Opening: 0 }, "all are back");
        Assert.InRange(server.Snapshot.Idle, 1, 3);
        Assert.Equal(server.Snapshot.Idle, (await server.SessionsAsync()).Length);
    }

    [Fact]
    [Trait("Conformance", "70")]
    public async Task Dispose_AfterThePoolWasClosed_ClosesTheSession()
    {
        var server = await PoolOnServer.CreateAsync();
        var connection = await server.Pool.OpenConnectionAsync(Cancellation);
        await server.DisposeAsync();
        Assert.Equal(ConnectionState.Open, connection.State);

        await connection.DisposeAsync();

        await server.SessionsBecomeAsync(0);
        Assert.Equal((0, 0), (server.Snapshot.Leased, server.Snapshot.Idle));
    }

    private static async Task EndAsync(NpgsqlConnection connection, bool blocking, bool closes)
    {
        switch (blocking, closes)
        {
            case (true, true):
                connection.Close();
                break;
            case (true, false):
                connection.Dispose();
                break;
            case (false, true):
                await connection.CloseAsync();
                break;
            default:
                await connection.DisposeAsync();
                break;
        }
    }
}
