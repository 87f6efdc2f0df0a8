using System.Net.Sockets;
using Npgsql;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Breaker;

/// <summary>A process that stands still for a while: its clock goes on, and that is evidence against nobody.</summary>
public sealed class FrozenPoolTests
{
    private const int CircuitOpened = 128;
    private const int Overdue = 100;
    private const int Quarantined = 112;

    private static readonly TimeSpan _freeze = TimeSpan.FromSeconds(30);
    private static readonly NpgsqlException _refused = new("refused", new SocketException((int)SocketError.ConnectionRefused));

    [Fact]
    public async Task CircuitBreaker_FailuresLastedOnlyWhileTheProcessStoodStill_StaysClosed()
    {
        await using var scripted = ScriptedPool.Create();
        scripted.Source.FailOpensWith = _refused;
        Task<Lease>[] rents = [scripted.BeginRent(TimeSpan.FromMinutes(10))];
        await scripted.UntilAsync(pool => pool.LastConnectError is not null && pool.Opening == 0);

        scripted.Source.FailOpensWith = null;
        Thaw(scripted);

        await (await rents[0]).DisposeAsync();
        Assert.DoesNotContain(scripted.Log.Entries, entry => entry.EventId == CircuitOpened);
    }

    [Fact]
    public async Task Lease_HeldWhileTheProcessStoodStill_IsNotOverdueUntilItIsHeldThatLong()
    {
        await using var scripted = ScriptedPool.Create(options => options.Leaks.Threshold = TimeSpan.FromSeconds(10));
        await using var lease = await scripted.BeginRent();
        scripted.Tick(4);

        Thaw(scripted);
        scripted.Tick(4 * 7);
        Assert.DoesNotContain(scripted.Log.Entries, entry => entry.EventId == Overdue);

        scripted.Tick(4 * 3);
        Assert.Contains(scripted.Log.Entries, entry => entry.EventId == Overdue);
    }

    [Fact]
    public async Task RentAsync_ItsBudgetEndedWhileTheProcessStoodStill_IsServedByWhatComesBackAtOnce()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(1);
        await using var _ = scripted;
        Task<Lease>[] rents = [scripted.BeginRent(TimeSpan.FromSeconds(5))];
        scripted.Tick(19);

        Thaw(scripted);
        Assert.False(rents[0].IsCompleted);
        await leases[0].DisposeAsync();

        await (await rents[0]).DisposeAsync();
    }

    [Fact]
    public async Task RentAsync_ItsBudgetEndedWhileTheProcessStoodStillAndNothingComesBack_FailsThreeSecondsLater()
    {
        var (scripted, _) = await ScriptedPool.CreateFullAsync(1);
        await using var _ = scripted;
        Task<Lease>[] rents = [scripted.BeginRent(TimeSpan.FromSeconds(5))];
        scripted.Tick(19);

        Thaw(scripted);
        scripted.Tick(11);
        Assert.False(rents[0].IsCompleted);
        scripted.Tick(2);

        await Assert.ThrowsAsync<PoolExhaustedException>(() => rents[0]);
    }

    [Fact]
    public async Task Open_UnderWayWhileTheProcessStoodStill_HasWhatIsLeftOfConnectTimeout()
    {
        await using var scripted = ScriptedPool.Create();
        scripted.Source.HoldOpens = true;
        Task<Lease>[] rents = [scripted.BeginRent(TimeSpan.FromMinutes(10))];
        await scripted.Source.PendingOpensReachAsync(1);

        Thaw(scripted);
        scripted.Tick(4);
        scripted.Source.CompleteNextOpen();

        await (await rents[0]).DisposeAsync();
        Assert.Equal(1, scripted.Source.Opens);
    }

    [Fact]
    public async Task Return_UnderWayWhileTheProcessStoodStill_IsNotQuarantined()
    {
        await using var scripted = ScriptedPool.Create();
        var leases = await scripted.RentManyAsync(1);
        scripted.Source.HoldNextClose();
        var returning = leases[0].DisposeAsync().AsTask();

        Thaw(scripted);
        await Eventually.True(() => scripted.Clock.ActiveTimers > 1, "it is waited for again");
        scripted.Source.ReleaseClose();

        await returning;
        Assert.Equal((1, 0), (scripted.Snapshot.Idle, scripted.Source.Terminated));
        Assert.DoesNotContain(scripted.Log.Entries, entry => entry.EventId == Quarantined);
    }

    private static void Thaw(ScriptedPool scripted)
    {
        scripted.Clock.Freeze(_freeze);
        scripted.Clock.Advance(TimeSpan.Zero);
    }
}
