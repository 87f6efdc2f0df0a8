using SafePool.Driver;
using SafePool.Lifecycle;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Connections;

public sealed class OpenSettlementTests
{
    /// <summary>An open that was given up brings its connection after all, and the first try to close that fails: nobody else would ever try again.</summary>
    [Fact]
    public async Task DiscardLateAsync_TheCloseFails_TriesUntilTheSessionIsGone()
    {
        await using var scripted = ScriptedPool.Create();
        var late = (await scripted.RentManyAsync(1))[0].Connection;
        var parts = scripted.Pool.Parts;
        var resting = new RestingPlaces(parts) { Retire = _ => { }, Pump = () => { }, Relieve = () => { } };
        scripted.Source.FailNextRetireWith(new IOException("not yet"));

        var discarding = new OpenSettlement(parts, resting).DiscardLateAsync(new OpenedConnection(late, parts.Source.Identify(late)!, IsNew: true));
        Assert.Equal((1, false), (scripted.Source.Alive, discarding.IsCompleted));
        scripted.Tick();

        await discarding;
        Assert.Equal(0, scripted.Source.Alive);
    }
}
