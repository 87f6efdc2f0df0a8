using Npgsql;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Pool;

public sealed class ConnectionPoolResizeTests
{
    [Fact]
    [Trait("Conformance", "65")]
    public async Task Reconfigure_LargerWhileCallersWait_ServesThemAtOnce()
    {
        var (scripted, _) = await ScriptedPool.CreateFullAsync(1);
        await using var disposal = scripted;
        Task<Lease>[] waiting = [scripted.BeginRent(), scripted.BeginRent()];

        scripted.Pool.Reconfigure(options => options.MaxSize = 3);

        await (await waiting[0]).DisposeAsync();
        await (await waiting[1]).DisposeAsync();
        Assert.Equal((3, 3), (scripted.Snapshot.MaxSize, scripted.Snapshot.EffectiveMaxSize));
        Assert.InRange(scripted.Source.Alive, 2, 3);
    }

    [Fact]
    [Trait("Conformance", "65")]
    public async Task Reconfigure_Smaller_RetiresTheIdleNowAndTheLeasedAsTheyComeBackButNoneTooMany()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(6);
        await using var disposal = scripted;
        await leases[0].DisposeAsync();

        scripted.Pool.Reconfigure(options => options.MaxSize = 3);
        Assert.Equal(3, scripted.Snapshot.MaxSize);
        await scripted.UntilAsync(pool => pool is { Idle: 0, TotalClosed: 1 });
        foreach (var lease in leases)
        {
            await lease.DisposeAsync();
        }

        Assert.Equal((3, 3, 3), (scripted.Source.Alive, scripted.Snapshot.Idle, (int)scripted.Snapshot.TotalClosed));
        scripted.Tick(4);
        Assert.Equal(3, scripted.Source.Alive);
    }

    [Fact]
    [Trait("Conformance", "65")]
    public async Task Reconfigure_SmallerWhileCallersWait_RetiresWhatComesBackFirstAndServesThemFromTheRest()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(3);
        await using var disposal = scripted;
        var waiting = scripted.BeginRent();
        scripted.Pool.Reconfigure(options => options.MaxSize = 1);

        await leases[0].DisposeAsync();
        await leases[1].DisposeAsync();
        Assert.False(waiting.IsCompleted);
        Assert.Equal(1, scripted.Source.Alive);

        await leases[2].DisposeAsync();
        await (await waiting).DisposeAsync();
        Assert.Equal((1, 1), (scripted.Source.Alive, scripted.Snapshot.Idle));
    }

    /// <summary>They come to rest instead of being retired: then whatever is idle goes in their stead.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Reconfigure_SmallerAndWhatComesBackCannotBeEnded_ShrinksOnceItCan(bool closedByTheUser)
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(4);
        await using var disposal = scripted;
        if (closedByTheUser)
        {
            Array.ForEach(leases, lease => scripted.Source.SetState(lease.Connection, System.Data.ConnectionState.Closed));
        }

        scripted.Pool.Reconfigure(options => options.MaxSize = 2);
        scripted.Source.RefusesToRetire = true;
        scripted.Tick();
        foreach (var lease in leases)
        {
            await lease.DisposeAsync();
        }

        scripted.Tick();
        Assert.Equal(4, scripted.Source.Alive);
        scripted.Source.RefusesToRetire = false;

        await TicksUntilAsync(scripted, () => scripted.Source.Alive == 2, "two are left");
        Assert.Equal((2, 2L), (scripted.Snapshot.Idle, scripted.Snapshot.TotalClosed));
    }

    /// <summary>Who waits gets one that could not be ended, and it is tried again when that comes back.</summary>
    [Fact]
    public async Task Reconfigure_SmallerWhileACallerWaitsAndWhatComesBackCannotBeEnded_ServesHimAndShrinksAfterwards()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(2);
        await using var disposal = scripted;
        var waiting = scripted.BeginRent();
        scripted.Pool.Reconfigure(options => options.MaxSize = 1);
        scripted.Tick();
        scripted.Source.RefusesToRetire = true;

        await leases[0].DisposeAsync();
        var served = await waiting;
        scripted.Source.RefusesToRetire = false;
        await served.DisposeAsync();

        Assert.Equal((1, 1, 0), (scripted.Source.Alive, scripted.Snapshot.Leased, scripted.Snapshot.Idle));
    }

    [Fact]
    public async Task Reconfigure_SmallerAndLargerAgainBeforeAnythingCameBack_RetiresNothing()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(4);
        await using var disposal = scripted;

        scripted.Pool.Reconfigure(options => options.MaxSize = 1);
        scripted.Pool.Reconfigure(options => options.MaxSize = 4);
        foreach (var lease in leases)
        {
            await lease.DisposeAsync();
        }

        Assert.Equal((4, 4), (scripted.Source.Alive, scripted.Snapshot.Idle));
    }

    [Fact]
    public async Task Reconfigure_WhileTheServerIsFull_ThatRemainsTheLimitUntilItIsNone()
    {
        await using var scripted = ScriptedPool.Create(options => options.MaxSize = 4);
        await scripted.RentManyAsync(2);
        scripted.Source.FailOpensWith = new PostgresException("full", "FATAL", "FATAL", PostgresErrorCodes.TooManyConnections);
        _ = scripted.BeginRent();
        await scripted.UntilAsync(pool => pool.EffectiveMaxSize == 2);

        scripted.Pool.Reconfigure(options => options.MaxSize = 8);
        Assert.Equal((8, 2), (scripted.Snapshot.MaxSize, scripted.Snapshot.EffectiveMaxSize));
        scripted.Pool.Reconfigure(options => options.MaxSize = 2);
        scripted.Pool.Reconfigure(options => options.MaxSize = 8);
        Assert.Equal(8, scripted.Snapshot.EffectiveMaxSize);
    }

    [Fact]
    public async Task Reconfigure_EachLiveOption_IsInForceFromThenOn()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(1, options => options.Leaks.Threshold = TimeSpan.FromSeconds(30));
        await using var disposal = scripted;

        scripted.Pool.Reconfigure(options => options.AcquireTimeout = TimeSpan.FromSeconds(1));
        var waiting = scripted.BeginRent();
        scripted.Clock.Advance(TimeSpan.FromSeconds(1));
        await Assert.ThrowsAsync<PoolExhaustedException>(() => waiting);

        scripted.Pool.Reconfigure(options => options.MaxWaiters = 0);
        await Assert.ThrowsAsync<PoolRejectedException>(() => scripted.BeginRent());

        scripted.Pool.Reconfigure(options => options.Leaks.Threshold = TimeSpan.FromSeconds(2));
        scripted.Clock.Advance(TimeSpan.FromSeconds(2));

        // Upkeep that a change has queued may still be at it, and a tick does not wait for it.
        await TicksUntilAsync(scripted, () => scripted.Snapshot.TotalLeaksReported == 1, "the lease is overdue");

        await leases[0].DisposeAsync();
        scripted.Pool.Reconfigure(options => options.IdleTimeout = TimeSpan.FromSeconds(1));
        await TicksUntilAsync(scripted, () => scripted.Source.Alive == 0, "what is idle is closed");

        scripted.Pool.Reconfigure(options => options.MinSize = 1);
        await scripted.UntilAsync(pool => pool.Idle == 1);
    }

    [Fact]
    public async Task Reconfigure_OptionsThatCannotChange_AreNamedAndLoggedAndKeepTheirValues()
    {
        await using var scripted = ScriptedPool.Create();

        var result = scripted.Pool.Reconfigure(options =>
        {
            options.MaxSize = 30;
            options.ConnectionString = "Host=other;Password=secret";
            options.ConnectTimeout = TimeSpan.FromSeconds(9);
            options.StatementTimeout = TimeSpan.FromSeconds(4);
            options.Leaks.NestedRents = NestedRentPolicy.Throw;
        });

        Assert.Equal(["MaxSize"], result.Applied);
        Assert.Equal(["ConnectionString", "ConnectTimeout", "StatementTimeout", "Leaks.NestedRents"], result.Refused);
        var refusal = Assert.Single(scripted.Log.Entries, entry => entry.EventId.Id == 137);
        Assert.Contains("ConnectionString, ConnectTimeout, StatementTimeout, Leaks.NestedRents cannot change", refusal.Message, StringComparison.Ordinal);
        Assert.DoesNotContain(scripted.Log.Entries, entry => entry.Message.Contains("secret", StringComparison.Ordinal));
        Assert.Equal(["ConnectTimeout"], scripted.Pool.Reconfigure(options => options.ConnectTimeout *= 3).Refused);
        Assert.Equal(30, scripted.Snapshot.MaxSize);
    }

    [Fact]
    public async Task Reconfigure_AFault_ChangesNothing()
    {
        await using var scripted = ScriptedPool.Create();

        var error = Assert.Throws<Microsoft.Extensions.Options.OptionsValidationException>(() => scripted.Pool.Reconfigure(options =>
        {
            options.MaxWaiters = 7;
            options.MinSize = 21;
        }));

        Assert.Contains("MinSize (21) must not exceed MaxSize (20)", error.Message, StringComparison.Ordinal);
        Assert.Empty(scripted.Pool.Reconfigure(_ => { }).Applied);
        Assert.Equal(["MaxWaiters"], scripted.Pool.Reconfigure(options => options.MaxWaiters = 7).Applied);
    }

    [Fact]
    public async Task Reconfigure_AClosedPool_Throws()
    {
        var scripted = ScriptedPool.Create();
        await scripted.DisposeAsync();

        Assert.Throws<PoolClosedException>(() => scripted.Pool.Reconfigure(options => options.MaxSize = 3));
    }

    private static Task TicksUntilAsync(ScriptedPool scripted, Func<bool> condition, string what)
        => Eventually.True(
            () =>
            {
                scripted.Tick(1);
                return condition();
            },
            what);
}
