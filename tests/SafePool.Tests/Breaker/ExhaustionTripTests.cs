using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Breaker;

public sealed class ExhaustionTripTests
{
    private static readonly TimeSpan _patience = TimeSpan.FromSeconds(2);

    [Fact]
    public async Task RentAsync_NothingHasComeBackForLong_FailsAtOnceWithADiagnosis()
    {
        var (scripted, _) = await CreateStuckAsync();
        await using var pool = scripted;

        var error = await Assert.ThrowsAsync<PoolExhaustedException>(() => scripted.BeginRent());
        Assert.Throws<PoolExhaustedException>(() => scripted.Pool.Rent());

        Assert.Equal(TimeSpan.Zero, error.Waited);
        Assert.NotEmpty(error.Diagnosis.Evidence);
        Assert.Equal(2, error.Holders.Length);
        Assert.Equal((0, 2L, 0L), (scripted.Snapshot.Waiting, scripted.Snapshot.TotalRejected, scripted.Snapshot.TotalTimeouts));
    }

    [Fact]
    public async Task RentAsync_TheFirstLeaseHasComeBack_IsServedAndTheNextWaits()
    {
        var (scripted, leases) = await CreateStuckAsync();
        await using var pool = scripted;

        await leases[0].DisposeAsync();

        await using var served = await scripted.BeginRent();
        var waiting = scripted.BeginRent();
        Assert.False(waiting.IsCompleted);
        await leases[1].DisposeAsync();
        await (await waiting).DisposeAsync();
    }

    [Fact]
    public async Task RentAsync_ALeaseWentFromHandToHandMeanwhile_Waits()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(2, options => options.Breaker.TripOnExhaustionAfter = _patience);
        await using var pool = scripted;
        var next = scripted.BeginRent(TimeSpan.FromMinutes(1));
        scripted.Tick(7);
        await leases[0].DisposeAsync();
        await using var handedOn = await next;

        scripted.Tick(7);

        Assert.False(scripted.BeginRent().IsCompleted);
    }

    [Fact]
    public async Task RentAsync_NotAskedFor_WaitsHoweverLongNothingCameBack()
    {
        var (scripted, _) = await ScriptedPool.CreateFullAsync(2);
        await using var pool = scripted;
        scripted.Tick(400);

        Assert.False(scripted.BeginRent().IsCompleted);
    }

    /// <summary>Callers fail at once, so nobody ever waits: leases must be taken back all the same, or the pool would never recover.</summary>
    [Fact]
    public async Task Maintenance_StuckAndNobodyWaits_TakesAnAbandonedLeaseBackAndRecovers()
    {
        var (scripted, _) = await ScriptedPool.CreateFullAsync(1, options =>
        {
            options.Breaker.TripOnExhaustionAfter = _patience;
            options.Leaks.Threshold = TimeSpan.FromSeconds(5);
            options.Leaks.AbandonAfter = TimeSpan.FromSeconds(10);
        });
        await using var pool = scripted;
        scripted.Tick(20);
        await Assert.ThrowsAsync<PoolExhaustedException>(() => scripted.BeginRent());

        scripted.Tick(30);
        await scripted.UntilAsync(now => now.TotalReclaimed == 1);

        await (await scripted.BeginRent()).DisposeAsync();
    }

    private static async Task<(ScriptedPool Pool, Lease[] Leases)> CreateStuckAsync()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(2, options => options.Breaker.TripOnExhaustionAfter = _patience);
        scripted.Tick(9);
        return (scripted, leases);
    }
}
