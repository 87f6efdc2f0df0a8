using Npgsql;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Integration;

/// <summary>Returns over a network that swallows everything: bounded, and the place is quarantined until the connection is surely gone.</summary>
public sealed class WedgedServerTests : IAsyncLifetime
{
    // Patience of a return, plus that of the attempt to end the session from outside, plus leeway for a busy machine.
    private static readonly TimeSpan Bound = TimeSpan.FromSeconds(9);

    private TcpProxy _proxy = null!;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => _proxy = TcpProxy.Start(await Outside.SharedServerAsync());

    public ValueTask DisposeAsync() => _proxy.DisposeAsync();

    [Fact]
    [Trait("Conformance", "47")]
    [Trait("Conformance", "73")]
    public async Task ReturnAsync_InTheMidstOfAResult_IsBoundedAndGivesThePlaceBackOnceTheConnectionIsGone()
    {
        await using var server = await CreateAsync();
        var lease = await server.Pool.RentAsync(Cancellation);
        var reader = await lease.CreateCommand("SELECT generate_series(1, 100000000)").ExecuteReaderAsync(Cancellation);
        Assert.True(await reader.ReadAsync(Cancellation));
        _proxy.Stall();

        await lease.DisposeAsync().AsTask().WaitAsync(Bound, TimeProvider.System, Cancellation);

        await AssertFreeOnceGoneAsync(server);
    }

    [Fact]
    [Trait("Conformance", "39")]
    [Trait("Conformance", "73")]
    public async Task ReturnAsync_WithATransactionToRollBack_IsBoundedAndQuarantinesUntilTheConnectionIsGone()
    {
        await using var server = await CreateAsync();
        var lease = await server.Pool.RentAsync(Cancellation);
        _ = await lease.BeginTransactionAsync(cancellationToken: Cancellation);
        await lease.DoAsync("SELECT 1");
        _proxy.Stall();

        await lease.DisposeAsync().AsTask().WaitAsync(Bound, TimeProvider.System, Cancellation);

        await AssertQuarantinedAndThenFreeAsync(server);
    }

    [Fact]
    [Trait("Conformance", "73")]
    public async Task ReturnAsync_WhileACommandRuns_IsBoundedAndGivesThePlaceBackOnceTheConnectionIsGone()
    {
        await using var server = await CreateAsync();
        var lease = await server.Pool.RentAsync(Cancellation);
        var session = lease.Session();
        var running = lease.DoAsync("SELECT pg_sleep(60)");
        await Eventually.True(async () => await server.ActivityAsync(session) == "active", "the command runs");
        _proxy.Stall();

        await lease.DisposeAsync().AsTask().WaitAsync(Bound, TimeProvider.System, Cancellation);

        await AssertFreeOnceGoneAsync(server);
        await Assert.ThrowsAnyAsync<Exception>(() => running);
    }

    [Fact]
    [Trait("Conformance", "73")]
    public async Task ReturnAsync_WithStrictReset_IsBoundedToo()
    {
        await using var server = await CreateAsync(SessionReset.Strict);
        var lease = await server.Pool.RentAsync(Cancellation);
        await lease.DoAsync("PREPARE p AS SELECT 1");
        _proxy.Stall();

        await lease.DisposeAsync().AsTask().WaitAsync(Bound, TimeProvider.System, Cancellation);

        await AssertQuarantinedAndThenFreeAsync(server);
    }

    /// <summary>Each of these talks to the server in the close, and blocked for as long as Npgsql's command timeout allows.</summary>
    [Theory]
    [InlineData("transaction")]
    [InlineData("BEGIN")]
    [InlineData("hook")]
    [InlineData("strict")]
    [Trait("Conformance", "39")]
    [Trait("Conformance", "73")]
    public async Task Return_Blocking_IsBoundedAndQuarantinesUntilTheConnectionIsGone(string leftToDo)
    {
        await using var server = await CreateAsync(
            leftToDo == "strict" ? SessionReset.Strict : SessionReset.Full, returning: leftToDo == "hook" ? "SELECT 1" : null);
        var lease = server.Pool.Rent();
        if (leftToDo == "transaction")
        {
            _ = lease.BeginTransaction();
        }

        lease.Do(leftToDo == "BEGIN" ? "BEGIN; SELECT 1" : "SELECT 1");
        _proxy.Stall();

        await Task.Run(lease.Dispose, Cancellation).WaitAsync(Bound, TimeProvider.System, Cancellation);

        await AssertQuarantinedAndThenFreeAsync(server);
    }

    [Fact]
    [Trait("Conformance", "73")]
    public async Task OtherPlaces_WhileOneReturnHangs_GoOnServing()
    {
        await using var server = await CreateAsync(SessionReset.Rollback, maxSize: 2);
        var stuck = await server.Pool.RentAsync(Cancellation);
        _ = await stuck.BeginTransactionAsync(cancellationToken: Cancellation);
        await stuck.DoAsync("SELECT 1");
        var other = await server.Pool.RentAsync(Cancellation);
        _proxy.Stall();

        var returning = stuck.DisposeAsync().AsTask();
        await other.DisposeAsync();
        Assert.True(server.Pool.TryRent(out var next));

        Assert.False(returning.IsCompleted);
        await next.DisposeAsync();
        await returning.WaitAsync(Bound, TimeProvider.System, Cancellation);
        Assert.Equal((1, 1), (server.Snapshot.Quarantined, server.Snapshot.Idle));
        _proxy.Resume();
    }

    /// <summary>The reset of an idle connection is sent in the background: that must not hold its place for ever.</summary>
    [Fact]
    public async Task IdleConnection_TheServerFallsSilent_IsGivenUpAndItsPlaceIsFree()
    {
        await using var server = await CreateAsync();
        await using (var lease = await server.Pool.RentAsync(Cancellation))
        {
            await lease.DoAsync("SELECT 1");
        }

        _proxy.Stall();

        await Eventually.True(
            () => server.Snapshot is { Idle: 0, Leased: 0, Quarantined: 0 }, "the connection that does not answer is given up", TimeSpan.FromSeconds(20));
        _proxy.ResetAll();
        _proxy.Resume();
        await using var next = await server.Pool.RentAsync(Cancellation);
        Assert.Equal(7, await next.AskAsync<int>("SELECT 7"));
    }

    private async Task AssertQuarantinedAndThenFreeAsync(PoolOnServer server)
    {
        Assert.Equal((0, 0, 1), (server.Snapshot.Leased, server.Snapshot.Idle, server.Snapshot.Quarantined));
        Assert.False(server.Pool.TryRent(out _));
        Assert.Single(server.Logs.Entries, entry => entry.EventId.Id == 112);
        await AssertFreeOnceGoneAsync(server);
        Assert.Single(server.Logs.Entries, entry => entry.EventId.Id == 113);
    }

    private async Task AssertFreeOnceGoneAsync(PoolOnServer server)
    {
        Assert.Equal((0, 0), (server.Snapshot.Leased, server.Snapshot.Idle));
        _proxy.ResetAll();
        _proxy.Resume();

        await Eventually.True(() => server.Snapshot.Quarantined == 0, "the place is free again");
        await using var next = await server.Pool.RentAsync(Cancellation);
        Assert.Equal(7, await next.AskAsync<int>("SELECT 7"));
        Assert.Equal(1, server.Snapshot.Leased);
    }

    private Task<PoolOnServer> CreateAsync(SessionReset reset = SessionReset.Full, int maxSize = 1, string? returning = null)
        => PoolOnServer.CreateAsync(
            options =>
            {
                // Whoever else says something to a silent server has a place in hand meanwhile.
                (options.MaxSize, options.Reset, options.WatchServer) = (maxSize, reset, false);
                options.LeaseReturning = returning is null ? null : async (connection, _) => await connection.AskAsync<int>(returning);
            },
            proxy: _proxy);
}
