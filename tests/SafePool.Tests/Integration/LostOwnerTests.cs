using System.Runtime.CompilerServices;
using Npgsql;
using Xunit;

namespace SafePool.Tests.Integration;

/// <summary>Leases that are lost while something made from them lives on, or whose owner is collected with them.</summary>
public sealed class LostOwnerTests
{
    private const int LeaseDropped = 100;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    [Trait("Conformance", "35")]
    public async Task ConnectionOfADroppedLease_InMidCommand_IsNotTakenBackBeforeItHasEnded()
    {
        await using var server = await PoolOnServer.CreateAsync(options =>
        {
            (options.MaxSize, options.AcquireTimeout) = (1, TimeSpan.FromSeconds(10));

            // Overdue long before the command ends, so that nothing but the command stands in the way.
            options.Leaks.Threshold = TimeSpan.FromMilliseconds(200);
        });
        var connection = TakeConnection(server.Pool);
        var session = connection.ProcessID;
        var running = connection.AskAsync<string>("SELECT pg_sleep(1.5)::text");

        var waiting = server.Pool.RentAsync(Cancellation).AsTask();
        Assert.NotSame(waiting, await Task.WhenAny(waiting, running));
        Assert.Equal("", await running);

        await using var lease = await waiting;
        Assert.NotEqual(session, lease.Session());
        await Assert.ThrowsAnyAsync<Exception>(() => connection.AskAsync<int>("SELECT 1"));
        Assert.Equal(2, await lease.AskAsync<int>("SELECT 2"));
        Assert.Equal(1, server.Snapshot.TotalReclaimed);
    }

    [Fact]
    [Trait("Conformance", "90")]
    public async Task DroppedLease_WithItsReaderDroppedInMidResult_IsTakenBackOnceOverdue()
    {
        await using var server = await PoolOnServer.CreateAsync(options =>
        {
            (options.MaxSize, options.AcquireTimeout) = (1, TimeSpan.FromSeconds(10));
            options.Leaks.Threshold = TimeSpan.FromMilliseconds(500);
        });
        DropInMidResult(server.Pool);

        await using var lease = await server.Pool.RentAsync(Cancellation);

        Assert.Equal(1, server.Snapshot.TotalReclaimed);
    }

    [Fact]
    [Trait("Conformance", "36")]
    public async Task CommandOfADroppedLease_UsedAfterItWasTakenBack_GetsAnErrorAndNotTheNextSession()
    {
        await using var server = await CreateAsync();
        var command = TakeCommand(server.Pool);

        await using var lease = await server.Pool.RentAsync(Cancellation);

        await Assert.ThrowsAnyAsync<Exception>(() => command.ExecuteScalarAsync(Cancellation));
        Assert.Equal(2, await lease.AskAsync<int>("SELECT 2"));
    }

    [Fact]
    public async Task DroppedLease_WhoseOwnersFinalizerDisposesItSeveralTimesInARow_HealsWithinOneBudgetEachTime()
    {
        await using var server = await CreateAsync();

        for (var round = 0; round < 6; round++)
        {
            DropAnOwner(server.Pool);
            await UseAsync(server.Pool);
        }

        Assert.Equal((0L, 0L), (server.Snapshot.TotalReclaimed, server.Snapshot.TotalTimeouts));
    }

    [Fact]
    public async Task DroppedLease_WhoseOwnersFinalizerDisposesIt_IsReturnedAndNotReportedAsLost()
    {
        await using var server = await CreateAsync();

        DropAnOwner(server.Pool);
        await UseAsync(server.Pool);

        Assert.Equal((0L, 1L), (server.Snapshot.TotalReclaimed, server.Snapshot.TotalOpened));
        Assert.DoesNotContain(server.Logs.Entries, entry => entry.EventId.Id == LeaseDropped);
        Drop(server.Pool);
        await UseAsync(server.Pool);
        Assert.Equal(1, server.Snapshot.TotalReclaimed);
    }

    [Fact]
    public async Task OpenConnectionAsync_ConnectionIsKeptWhileThePoolIsFull_IsNotTakenBack()
    {
        await using var server = await CreateAsync();
        await using var connection = await server.Pool.OpenConnectionAsync(Cancellation);

        await Assert.ThrowsAsync<PoolExhaustedException>(async () => await server.Pool.RentAsync(Cancellation));

        Assert.Equal(1, await connection.AskAsync<int>("SELECT 1"));
        Assert.Equal(0, server.Snapshot.TotalReclaimed);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Drop(ConnectionPool pool) => pool.Rent().Do("SELECT 1");

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void DropInMidResult(ConnectionPool pool)
        => Assert.True(pool.Rent().CreateCommand("SELECT generate_series(1, 100000000)").ExecuteReader().Read());

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static NpgsqlConnection TakeConnection(ConnectionPool pool) => pool.Rent().Connection;

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static NpgsqlCommand TakeCommand(ConnectionPool pool) => pool.Rent().CreateCommand("SELECT 1");

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void DropAnOwner(ConnectionPool pool) => _ = new Owner(pool.Rent());

    // A method of its own: a copy of this lease that outlives its return would hide a later drop on the same place.
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static async Task UseAsync(ConnectionPool pool)
    {
        await using var lease = await pool.RentAsync(Cancellation);
        Assert.Equal(1, await lease.AskAsync<int>("SELECT 1"));
    }

    private static Task<PoolOnServer> CreateAsync(double acquireTimeout = 3)
        => PoolOnServer.CreateAsync(options => (options.MaxSize, options.AcquireTimeout) = (1, TimeSpan.FromSeconds(acquireTimeout)));

    private sealed class Owner(Lease lease)
    {
        ~Owner() => lease.Dispose();
    }
}
