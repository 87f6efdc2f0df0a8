using Npgsql;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Breaker;

/// <summary>The server goes away and somebody listens, on a clock that the tests move.</summary>
public sealed class ServerWatchTests
{
    private const int ServerLost = 131;

    private static readonly NpgsqlException _gone = new("gone");

    [Fact]
    public async Task ServerGoesAway_IdleConnections_AreRetiredAtOnceAndTheNextOpenIsOnItsOwn()
    {
        await using var scripted = ScriptedPool.Create(options => options.MaxSize = 4);
        await scripted.FillAsync(1);
        var leases = await scripted.RentManyAsync(4);
        await leases[0].DisposeAsync();
        await leases[1].DisposeAsync();
        scripted.Tick();

        scripted.Source.LoseServer(_gone);

        await scripted.UntilAsync(pool => pool is { Idle: 0, Leased: 2 });
        Assert.Single(scripted.Log.Entries, entry => entry.EventId == ServerLost);
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
        await using var scripted = ScriptedPool.Create();
        var lease = (await scripted.RentManyAsync(1))[0];
        scripted.Tick();
        scripted.Source.LoseServer(_gone);

        await lease.DisposeAsync();

        Assert.Equal((0, 0), (scripted.Snapshot.Idle, scripted.Source.Alive));
    }

    /// <summary>A lease broke first, and all is new already: the late news must not cost the new ones.</summary>
    [Fact]
    public async Task ServerGoesAway_ALeaseHadToldItBefore_LeavesTheNewConnectionsAlone()
    {
        await using var scripted = ScriptedPool.Create();
        var lease = (await scripted.RentManyAsync(1))[0];
        scripted.Tick();
        scripted.Source.Break(lease.Connection);
        await lease.DisposeAsync();
        await scripted.FillAsync(1);

        scripted.Source.LoseServer(_gone);

        Assert.Equal(1, scripted.Snapshot.Idle);
        Assert.DoesNotContain(scripted.Log.Entries, entry => entry.EventId == ServerLost);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Maintenance_WithoutConnectionsOrUnwanted_DoesNotListen(bool wanted)
    {
        await using var scripted = ScriptedPool.Create(options => options.WatchServer = wanted);
        scripted.Tick(2);
        Assert.False(scripted.Source.IsWatched);

        await scripted.FillAsync(1);
        scripted.Tick(2);

        Assert.Equal(wanted, scripted.Source.IsWatched);
    }
}
