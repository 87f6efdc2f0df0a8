using Npgsql;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Pool;

/// <summary>Retirements by the pool itself that go wrong: the place must neither be lost nor given to a second connection.</summary>
public sealed class ConnectionPoolRetireTests
{
    [Fact]
    [Trait("Conformance", "3")]
    [Trait("Conformance", "54")]
    public async Task RentAsync_RetiringTheExpiredConnectionThrows_NeverHasTwoConnectionsInOnePlace()
    {
        await using var scripted = ScriptedPool.Create(options => (options.MaxSize, options.MaxLifetime) = (1, TimeSpan.FromMinutes(10)));
        await scripted.FillAsync(1);
        scripted.Source.FailNextRetireWith(new NpgsqlException("scripted"));
        await using (var busy = await scripted.BeginRent())
        {
            scripted.Clock.Advance(TimeSpan.FromMinutes(12));
        }

        await using var lease = await scripted.BeginRent();

        Assert.Equal(2, scripted.Source.NumberOf(lease.Connection));
        Assert.Equal((1, 1), (scripted.Source.Alive, scripted.Source.PeakAlive));
    }

    [Fact]
    [Trait("Conformance", "3")]
    public async Task Maintenance_RetiringAnExpiredIdleConnectionThrows_NeverHasTwoConnectionsInOnePlace()
    {
        await using var scripted = ScriptedPool.Create(options => (options.MaxSize, options.MaxLifetime) = (1, TimeSpan.FromMinutes(10)));
        await scripted.FillAsync(1);
        scripted.Source.FailNextRetireWith(new NpgsqlException("scripted"));

        scripted.Clock.Advance(TimeSpan.FromMinutes(12));
        await using var lease = await scripted.BeginRent();

        Assert.Equal((1, 1), (scripted.Source.Alive, scripted.Source.PeakAlive));
    }

    [Fact]
    [Trait("Conformance", "99")]
    public async Task Maintenance_RetiringASurplusConnectionThrows_LosesNoPlace()
    {
        await using var scripted = ScriptedPool.Create(options => options.IdleTimeout = TimeSpan.FromMinutes(1));
        await scripted.FillAsync(2);
        scripted.Source.FailNextRetireWith(new InvalidOperationException("scripted"));

        scripted.Clock.Advance(TimeSpan.FromMinutes(5));

        Assert.Equal((0, 0, 0), (scripted.Snapshot.Leased, scripted.Snapshot.Idle, scripted.Source.Alive));
    }
}
