using Npgsql;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Breaker;

/// <summary>The minimum of a pool whose server has refused one more.</summary>
public sealed class FullServerFillTests
{
    /// <summary>Nobody waits: what is missing to the minimum is asked for as seldom as what callers want, and comes back all the same.</summary>
    [Fact]
    public async Task Maintenance_TheServerHasRoomAgain_RegainsMinSizeWithoutAQueue()
    {
        await using var scripted = ScriptedPool.Create(options => (options.MinSize, options.MaxSize) = (4, 4));
        await scripted.FillAsync(2);
        scripted.Source.FailOpensWith = new PostgresException("too many clients", "FATAL", "FATAL", PostgresErrorCodes.TooManyConnections);
        scripted.Tick();
        await scripted.UntilAsync(pool => pool is { EffectiveMaxSize: 2, Opening: 0 });
        for (var i = 0; i < 240; i++)
        {
            scripted.Tick();
            await scripted.UntilAsync(pool => pool.Opening == 0);
        }

        Assert.InRange(scripted.Source.Opens - 2, 2, 8);
        scripted.Source.FailOpensWith = null;

        for (var i = 0; i < 300 && scripted.Snapshot.Idle < 4; i++)
        {
            scripted.Tick();
            await scripted.UntilAsync(pool => pool.Opening == 0);
        }

        Assert.Equal((4, 4), (scripted.Snapshot.Idle, scripted.Snapshot.EffectiveMaxSize));
    }
}
