using Xunit;

namespace SafePool.Tests.Integration;

public sealed class DisposeOfLeaseTests
{
    private const int Rounds = 300;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    [Trait("Conformance", "33")]
    public async Task Dispose_ACopyAgainWhileTheNextLeaseIsOut_LeavesTheNextAlone(bool blocking)
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1);
        var first = await server.Pool.RentAsync(Cancellation);
        var copy = first;
        await ReturnAsync(first, blocking);
        await using var second = await server.Pool.RentAsync(Cancellation);

        await ReturnAsync(copy, blocking);
        await ReturnAsync(first, blocking);

        Assert.Equal((1, 0), (server.Snapshot.Leased, server.Snapshot.Idle));
        Assert.Equal(1, await second.AskAsync<int>("SELECT 1"));
        Assert.False(server.Pool.TryRent(out _));
    }

    [Theory]
    [InlineData(true, true)]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [Trait("Conformance", "34")]
    public async Task Dispose_CopiesOnSeveralThreadsAtOnce_ReturnsOnce(bool blocking, bool otherBlocking)
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 2);

        for (var round = 0; round < Rounds; round++)
        {
            var lease = await server.Pool.RentAsync(Cancellation);
            using var start = new Barrier(3);

            Task Racer(bool isBlocking) => Task.Factory.StartNew(
                () =>
                {
                    start.SignalAndWait(Cancellation);
                    return ReturnAsync(lease, isBlocking);
                },
                Cancellation,
                TaskCreationOptions.LongRunning,
                TaskScheduler.Default).Unwrap();

            await Task.WhenAll(Racer(blocking), Racer(otherBlocking), Racer(blocking));

            Assert.Equal((0, 1), (server.Snapshot.Leased, server.Snapshot.Idle));
        }

        Assert.Equal(1, server.Snapshot.TotalOpened);
        Assert.Equal(Rounds, server.Snapshot.TotalRents);
        Assert.Single(await server.SessionsAsync());
    }

    [Fact]
    [Trait("Conformance", "34")]
    public async Task DisposeAsync_CopiesAtOnceWithATransactionToRollBack_ReturnsOnce()
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1);

        for (var round = 0; round < 50; round++)
        {
            var lease = await server.Pool.RentAsync(Cancellation);
            await lease.DoAsync("BEGIN");

            await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Task.Run(async () => await lease.DisposeAsync(), Cancellation)));

            await using var next = await server.Pool.RentAsync(Cancellation);
            Assert.Equal(1, server.Snapshot.Leased);
            Assert.Equal(1, await next.AskAsync<int>("SELECT 1"));
        }

        Assert.Equal((0, 1), (server.Snapshot.Leased, server.Snapshot.Idle));
    }

    [Fact]
    public async Task Members_OfDefault_AreHarmless()
    {
        var lease = default(Lease);

        lease.Dispose();
        await lease.DisposeAsync();
        lease.Cancel();

        Assert.Equal(0, lease.Id);
        Assert.Equal(default, lease);
        Assert.Equal(0, lease.GetHashCode());
        Assert.Throws<ObjectDisposedException>(() => lease.Connection);
        Assert.Throws<ObjectDisposedException>(() => lease.CreateCommand());
        Assert.Throws<ObjectDisposedException>(() => lease.CreateBatch());
        Assert.Throws<ObjectDisposedException>(() => lease.BeginTransaction());
        await Assert.ThrowsAsync<ObjectDisposedException>(async () => await lease.BeginTransactionAsync(cancellationToken: Cancellation));
    }

    private static async Task ReturnAsync(Lease lease, bool blocking)
    {
        if (blocking)
        {
            lease.Dispose();
        }
        else
        {
            await lease.DisposeAsync();
        }
    }
}
