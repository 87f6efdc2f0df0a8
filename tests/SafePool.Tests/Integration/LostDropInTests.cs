using System.Runtime.CompilerServices;
using Npgsql;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Integration;

/// <summary>What the collector finds of connections that were taken away. Alone, because it counts collections.</summary>
[Collection(nameof(Leases.DroppedLeaseTests))]
public sealed class LostDropInTests
{
    private static readonly TimeSpan _patience = TimeSpan.FromMinutes(1);

    private readonly ManualTimeProvider _clock = new();
    private NpgsqlConnection? _kept;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Collect_AfterADropInConnectionWasAbandoned_LeavesTheNextOnItsPlaceAlone(bool nextIsALease)
    {
        await using var server = await PoolOnServer.CreateAsync(options => (options.MaxSize, options.Leaks.AbandonAfter) = (1, _patience), clock: _clock);
        Keep(server.Pool);
        var lease = server.Pool.RentAsync(new RentOptions { AcquireTimeout = Timeout.InfiniteTimeSpan }, Cancellation).AsTask();
        _clock.Advance(_patience);
        await Eventually.True(() => lease.IsCompleted, "the waiter is served");
        await (await lease).DisposeAsync();
        await using var next = nextIsALease ? default : await server.Pool.OpenConnectionAsync(Cancellation);
        await using var nextLease = nextIsALease ? await server.Pool.RentAsync(Cancellation) : default;

        Collect();
        Forget();
        Collect();
        _clock.Advance(TimeSpan.FromSeconds(1));

        Assert.Equal((1, 1L, 1L), (server.Snapshot.Leased, server.Snapshot.TotalReclaimed, server.Snapshot.TotalLeaksReported));
        Assert.Equal(1, await (next ?? nextLease.Connection).AskAsync<int>("SELECT 1"));
    }

    [Fact]
    public async Task Collect_ADropInConnectionWasLost_IsNotFoundButReported()
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1, clock: _clock);
        Keep(server.Pool);
        _kept = null;

        Collect();
        _clock.Advance(TimeSpan.FromSeconds(31));

        Assert.Equal((1, 0L, 1L), (server.Snapshot.Leased, server.Snapshot.TotalReclaimed, server.Snapshot.TotalLeaksReported));
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private void Keep(ConnectionPool pool) => _kept = pool.OpenConnection();

    [MethodImpl(MethodImplOptions.NoInlining)]
    private void Forget()
    {
        _kept!.Dispose();
        _kept = null;
    }

    private static void Collect()
    {
        for (var i = 0; i < 4; i++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }
    }
}
