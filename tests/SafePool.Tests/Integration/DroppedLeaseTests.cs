using System.Runtime.CompilerServices;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Integration;

/// <summary>Leases of which every copy is lost. No test here collects: the pool has to see to that itself.</summary>
public sealed class DroppedLeaseTests
{
    private const int LeaseDropped = 100;

    private Lease[]? _held;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    [Trait("Conformance", "90")]
    public async Task RentAsync_PoolIsFullOfDroppedLeases_HealsWithinOneBudgetAgainAndAgain(bool used)
    {
        await using var server = await CreateAsync(maxSize: 3);

        for (var round = 1; round <= 3; round++)
        {
            Drop(server.Pool, 3, used);
            var dropped = await server.SessionsAsync();

            var leases = await server.Pool.RentAsync(3, Cancellation);

            Assert.Empty(leases.Select(lease => lease.Session()).Intersect(dropped));
            Assert.Equal((round * 3L, round * 3L), (server.Snapshot.TotalReclaimed, server.Snapshot.TotalLeaksReported));
            await leases.ReturnAllAsync();
        }

        Assert.Equal(0, server.Snapshot.TotalTimeouts);
        await server.SessionsBecomeAsync(3);
    }

    [Fact]
    [Trait("Conformance", "90")]
    public async Task Rent_BlockingOnAPoolFullOfDroppedLeases_HealsWithinOneBudget()
    {
        await using var server = await CreateAsync(maxSize: 2);
        Drop(server.Pool, 2, used: true);

        using var lease = server.Pool.Rent();

        Assert.Equal(1, lease.Ask<int>("SELECT 1"));
        await Eventually.True(() => server.Snapshot.TotalReclaimed == 2, "both are taken back");
    }

    [Fact]
    [Trait("Conformance", "91")]
    public async Task RentAsync_LeaseIsDroppedAfterTheWaitBegan_IsServed()
    {
        await using var server = await CreateAsync(maxSize: 1);
        Hold(server.Pool);
        var waiting = server.Pool.RentAsync(Cancellation).AsTask();
        await Eventually.True(() => server.Snapshot.Waiting == 1, "the second waits");

        _held = null;

        await using var lease = await waiting;
        Assert.Equal(1, await lease.AskAsync<int>("SELECT 1"));
        Assert.Equal(1, server.Snapshot.TotalReclaimed);
    }

    [Fact]
    public async Task RentAsync_LeaseIsKept_IsNotTakenBackHoweverFullThePool()
    {
        await using var server = await CreateAsync(maxSize: 1);
        Hold(server.Pool);

        await Assert.ThrowsAsync<PoolExhaustedException>(async () => await server.Pool.RentAsync(Cancellation));

        Assert.Equal((1, 0L), (server.Snapshot.Leased, server.Snapshot.TotalReclaimed));
        Assert.Equal(1, await _held![0].AskAsync<int>("SELECT 1"));
        await _held.ReturnAllAsync();
    }

    [Fact]
    public async Task Log_OfADroppedLease_NamesMemberFileAndLine()
    {
        await using var server = await CreateAsync(maxSize: 1);
        Drop(server.Pool, 1, used: true);

        await using var lease = await server.Pool.RentAsync(Cancellation);

        var entry = Assert.Single(server.Logs.Entries, entry => entry.EventId.Id == LeaseDropped);
        Assert.Matches(@"DroppedLeaseTests\.cs:\d+ \(Drop\)", entry.Message);
    }

    [Fact]
    public async Task DroppedLease_OverdueWithNobodyWaiting_IsTakenBackAndItsTransactionEnds()
    {
        await using var server = await PoolOnServer.CreateAsync(options =>
        {
            options.MaxSize = 1;
            options.Leaks.Threshold = TimeSpan.FromMilliseconds(300);
        });
        DropInATransaction(server.Pool);

        await Eventually.True(() => server.Snapshot is { TotalReclaimed: 1, Leased: 0 }, "it is taken back");

        await server.SessionsBecomeAsync(0);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Drop(ConnectionPool pool, int leases, bool used)
    {
        for (var i = 0; i < leases; i++)
        {
            var lease = pool.Rent();
            if (used)
            {
                lease.Do("SELECT 1");
            }
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void DropInATransaction(ConnectionPool pool)
    {
        var lease = pool.Rent();
        _ = lease.BeginTransaction();
        lease.Do("SELECT 1");
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private void Hold(ConnectionPool pool) => _held = [pool.Rent()];

    private static Task<PoolOnServer> CreateAsync(int maxSize, double acquireTimeout = 3)
        => PoolOnServer.CreateAsync(options => (options.MaxSize, options.AcquireTimeout) = (maxSize, TimeSpan.FromSeconds(acquireTimeout)));
}
