using Npgsql;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Breaker;

/// <summary>An idle connection watches for the server's going away, on a clock that the tests move.</summary>
public sealed class ServerWatchTests
{
    private const int ServerLost = 131;

    private static readonly NpgsqlException _gone = new("gone");

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task ServerGoesAway_IdleConnections_AreRetiredAtOnceAndTheNextOpenIsOnItsOwn()
    {
        await using var scripted = await CreateAsync(idle: 4);
        var leases = await scripted.RentManyAsync(2);
        await WatchAsync(scripted);

        scripted.Source.LoseServer(_gone);

        await scripted.UntilAsync(pool => pool is { Idle: 0, Leased: 2 });
        Assert.Single(scripted.Log.Entries, entry => entry.EventId == ServerLost);
        Assert.All(leases, lease => Assert.True(lease.Id > 0));
        scripted.Source.HoldOpens = true;
        Task<Lease>[] rents = [scripted.BeginRent(), scripted.BeginRent()];
        await scripted.Source.PendingOpensReachAsync(1);
        scripted.Source.CompleteNextOpen();
        await scripted.Source.PendingOpensReachAsync(1);
        scripted.Source.CompleteNextOpen();
        await Task.WhenAll(rents);
    }

    [Fact]
    public async Task ServerGoesAway_ALeaseIsOut_IsRetiredWhenItComesBack()
    {
        await using var scripted = await CreateAsync(idle: 2);
        var lease = (await scripted.RentManyAsync(1))[0];
        await WatchAsync(scripted);
        scripted.Source.LoseServer(_gone);
        await scripted.UntilAsync(pool => pool.Idle == 0);

        await lease.DisposeAsync();

        Assert.Equal((0, 0, 2L), (scripted.Snapshot.Idle, scripted.Source.Alive, scripted.Snapshot.TotalClosed));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Rent_NothingElseIsIdle_IsServedByTheOneThatWatches(bool blocking)
    {
        await using var scripted = await CreateAsync(idle: 1);
        await WatchAsync(scripted);
        Assert.Equal((1, 0), (scripted.Snapshot.Idle, scripted.Snapshot.Leased));

        await using var lease = blocking ? await Task.Run(() => scripted.Pool.Rent(), Cancellation) : await scripted.Pool.RentAsync(Cancellation);

        Assert.Equal((0, 1, 1), (scripted.Snapshot.Idle, scripted.Snapshot.Leased, scripted.Source.Opens));
    }

    [Fact]
    public async Task TryRent_NothingElseIsIdle_IsServedByTheOneThatWatches()
    {
        await using var scripted = await CreateAsync(idle: 1);
        await WatchAsync(scripted);

        var isServed = scripted.Pool.TryRent(out var lease);
        using var returned = lease;

        Assert.True(isServed);
        Assert.Equal((0, 1, 1), (scripted.Snapshot.Idle, scripted.Snapshot.Leased, scripted.Source.Opens));
    }

    [Fact]
    public async Task Rent_WithoutAQueueAndNothingElseIdle_IsNotRejected()
    {
        await using var scripted = await CreateAsync(idle: 2, options => (options.MaxSize, options.MaxWaiters) = (2, 0));
        await using var held = await scripted.Pool.RentAsync(Cancellation);
        await WatchAsync(scripted);

        await using var lease = await scripted.Pool.RentAsync(Cancellation);

        await Assert.ThrowsAsync<PoolRejectedException>(() => scripted.BeginRent());
    }

    [Fact]
    public async Task Clear_WhileOneWatches_RetiresItToo()
    {
        await using var scripted = await CreateAsync(idle: 3);
        await WatchAsync(scripted);

        scripted.Pool.Clear();

        await scripted.UntilAsync(pool => pool is { Idle: 0, TotalClosed: 3 });
        Assert.Equal(0, scripted.Source.Alive);
        Assert.False(scripted.Source.IsWatched);
        Assert.DoesNotContain(scripted.Log.Entries, entry => entry.EventId == ServerLost);
    }

    [Fact]
    public async Task Pause_WhileOneWatches_EndsIt()
    {
        await using var scripted = await CreateAsync(idle: 3);
        await WatchAsync(scripted);

        await scripted.Pool.PauseAsync(Cancellation).WaitAsync(TimeSpan.FromSeconds(10), Cancellation);

        Assert.Equal((0, 0), (scripted.Snapshot.Idle, scripted.Source.Alive));
    }

    [Fact]
    public async Task Drain_WhileOneWatches_DoesNotWaitForIt()
    {
        await using var scripted = await CreateAsync(idle: 3);
        await WatchAsync(scripted);

        var report = await scripted.Pool.DrainAsync(TimeSpan.FromMinutes(1), Cancellation).WaitAsync(TimeSpan.FromSeconds(10), Cancellation);

        Assert.True(report.Drained);
        Assert.Equal((0, 3L), (scripted.Source.Alive, scripted.Snapshot.TotalClosed));
    }

    [Fact]
    public async Task IdleTimeout_WhileOneWatches_EndsThatOneToo()
    {
        // Ticks that come while a connection is asked for a sign of life find it in hand, which on a clock that leaps is often.
        await using var scripted = await CreateAsync(
            idle: 3, options => (options.IdleTimeout, options.ProbeAfterIdle) = (TimeSpan.FromMinutes(1), Timeout.InfiniteTimeSpan));
        await WatchAsync(scripted);

        scripted.Clock.Advance(TimeSpan.FromMinutes(1));
        await scripted.UntilAsync(_ => Advance(scripted, TimeSpan.FromSeconds(5)).TotalClosed == 3);

        Assert.Equal((0, 0), (scripted.Source.Alive, scripted.Snapshot.Idle));
    }

    [Theory]
    [InlineData(true, 4, true)]
    [InlineData(false, 4, false)]
    [InlineData(true, 1, false)]
    public async Task Maintenance_QuietPool_WatchesIfItIsWantedAndNotTheOnlyConnectionThatMayBe(bool wanted, int maxSize, bool expected)
    {
        await using var scripted = ScriptedPool.Create(options => (options.WatchServer, options.MaxSize) = (wanted, maxSize));
        scripted.Tick(8);
        Assert.False(scripted.Source.IsWatched);
        await scripted.FillAsync(1);

        for (var i = 0; i < 40 && !scripted.Source.IsWatched; i++)
        {
            scripted.Tick();
            await Task.Yield();
        }

        Assert.Equal(expected, scripted.Source.IsWatched);
    }

    private static async Task<ScriptedPool> CreateAsync(int idle, Action<ConnectionPoolOptions>? configure = null)
    {
        var scripted = ScriptedPool.Create(options =>
        {
            options.WatchServer = true;
            options.MaxSize = 4;
            configure?.Invoke(options);
        });
        var leases = await scripted.RentManyAsync(idle);
        foreach (var lease in leases)
        {
            await lease.DisposeAsync();
        }

        return scripted;
    }

    private static Task WatchAsync(ScriptedPool scripted)
        => Eventually.True(
            () =>
            {
                scripted.Tick();
                return scripted.Pool.Parts.Gate.HasWatch;
            },
            "a connection watches");

    private static PoolSnapshot Advance(ScriptedPool scripted, TimeSpan by)
    {
        scripted.Clock.Advance(by);
        return scripted.Snapshot;
    }
}
