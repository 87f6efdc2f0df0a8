using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Integration;

/// <summary>Time is moved by hand; the retiring itself is real, so it is waited for after every step.</summary>
public sealed class RetirementTests
{
    private static readonly TimeSpan Tick = TimeSpan.FromMilliseconds(250);

    private readonly ManualTimeProvider _clock = new();

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    [Trait("Conformance", "58")]
    public async Task IdleSurplus_AfterIdleTimeout_IsRetiredDownToMinSize()
    {
        await using var server = await CreateAsync(options => (options.MinSize, options.IdleTimeout) = (2, TimeSpan.FromSeconds(10)));
        await server.Pool.FillAsync(5, Cancellation);
        var before = await server.SessionsAsync();

        await PassAsync(TimeSpan.FromSeconds(9));
        Assert.Equal(5, server.Snapshot.Idle);
        await PassAsync(TimeSpan.FromSeconds(2));

        await server.SessionsBecomeAsync(2);
        await PassAsync(TimeSpan.FromSeconds(30));
        Assert.Equal((2, 5L, 3L), (server.Snapshot.Idle, server.Snapshot.TotalOpened, server.Snapshot.TotalClosed));
        Assert.Equal(2, before.Intersect(await server.SessionsAsync()).Count());
    }

    [Fact]
    [Trait("Conformance", "60")]
    public async Task IdleSurplus_SomeAreLeased_OnlyIdleOnesAreRetired()
    {
        await using var server = await CreateAsync(options => options.IdleTimeout = TimeSpan.FromSeconds(5));
        var leases = await server.Pool.RentAsync(4, Cancellation);
        var kept = leases[..2].Select(lease => lease.Session()).Order().ToArray();
        await leases[2..].ReturnAllAsync();

        await PassAsync(TimeSpan.FromSeconds(6));

        await server.SessionsBecomeAsync(2);
        Assert.Equal(kept, await server.SessionsAsync());
        foreach (var lease in leases[..2])
        {
            Assert.Equal(lease.Session(), await lease.AskAsync<int>("SELECT pg_backend_pid()"));
        }

        await leases[..2].ReturnAllAsync();
    }

    [Fact]
    [Trait("Conformance", "59")]
    public async Task IdleSurplus_ASpikeInsideTheWindow_KeepsWhatTheSpikeNeeded()
    {
        await using var server = await CreateAsync(options => options.IdleTimeout = TimeSpan.FromSeconds(10));
        await server.Pool.FillAsync(4, Cancellation);

        for (var round = 0; round < 4; round++)
        {
            await PassAsync(TimeSpan.FromSeconds(6));
            var spike = await server.Pool.RentAsync(4, Cancellation);
            await PassAsync(Tick);
            await spike.ReturnAllAsync();
        }

        Assert.Equal((4, 4L, 0L), (server.Snapshot.Idle, server.Snapshot.TotalOpened, server.Snapshot.TotalClosed));
    }

    [Fact]
    [Trait("Conformance", "54")]
    public async Task RentAsync_OnceLifetimeIsOver_NeverHandsOutAnOldSession()
    {
        await using var server = await CreateAsync(options => options.MaxLifetime = TimeSpan.FromSeconds(60));
        await server.Pool.FillAsync(3, Cancellation);
        var old = await server.SessionsAsync();

        // One jump over the whole lifetime: only the next tick stands between expiry and the rent.
        _clock.Advance(TimeSpan.FromSeconds(67));
        for (var i = 0; i < 6; i++)
        {
            await using var lease = await server.Pool.RentAsync(Cancellation);
            Assert.DoesNotContain(lease.Session(), old);
        }

        await Eventually.True(async () => !(await server.SessionsAsync()).Intersect(old).Any(), "the old sessions are gone");
    }

    [Fact]
    [Trait("Conformance", "54")]
    [Trait("Conformance", "56")]
    public async Task MaxLifetime_Reached_RetiresOneByOneWithinTenPercent()
    {
        await using var server = await CreateAsync(options => (options.MaxSize, options.MaxLifetime) = (20, TimeSpan.FromSeconds(1000)));
        await server.Pool.FillAsync(20, Cancellation);

        await PassAsync(TimeSpan.FromSeconds(899.5), TimeSpan.FromSeconds(20));
        Assert.Equal(20, server.Snapshot.Idle);
        var waves = new List<long>();
        for (var part = 0; part < 10; part++)
        {
            var seen = server.Snapshot.TotalClosed;
            await PassAsync(TimeSpan.FromSeconds(20.1), TimeSpan.FromSeconds(10));
            waves.Add(server.Snapshot.TotalClosed - seen);
        }

        // Retiring takes real time, during which ticks pass: the last may still be at it.
        await Eventually.True(
            () =>
            {
                _clock.Advance(Tick);
                return server.Snapshot.TotalClosed == 20;
            },
            "all have been retired");
        Assert.True(waves.Count(wave => wave > 0) >= 3, $"retired in waves of {string.Join(", ", waves)}");
        await server.SessionsBecomeAsync(0);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    [Trait("Conformance", "55")]
    public async Task Return_OnceLifetimeIsOver_RetiresThatConnectionAndLeavesTheOthers(bool blocking)
    {
        await using var server = await CreateAsync(options => options.MaxLifetime = TimeSpan.FromSeconds(100));
        var old = await server.Pool.RentAsync(Cancellation);
        var expired = old.Session();
        await PassAsync(TimeSpan.FromSeconds(80), TimeSpan.FromSeconds(5));
        await server.Pool.FillAsync(3, Cancellation);
        var young = (await server.SessionsAsync()).Except([expired]).ToArray();
        await PassAsync(TimeSpan.FromSeconds(35), TimeSpan.FromSeconds(5));
        Assert.Equal(1, await old.AskAsync<int>("SELECT 1"));

        if (blocking)
        {
            old.Dispose();
        }
        else
        {
            await old.DisposeAsync();
        }

        await server.SessionsBecomeAsync(3);
        Assert.Equal(young, await server.SessionsAsync());
        Assert.Equal(1, server.Snapshot.TotalClosed);
    }

    [Fact]
    [Trait("Conformance", "6")]
    public async Task MaxLifetime_WithMinSize_ReplacesWhatWasRetired()
    {
        await using var server = await CreateAsync(options => (options.MinSize, options.MaxSize, options.MaxLifetime) = (2, 4, TimeSpan.FromSeconds(60)));
        await server.Pool.WarmUpAsync(Cancellation);
        var old = await server.SessionsAsync();

        await PassAsync(TimeSpan.FromSeconds(67));

        await Eventually.True(
            async () =>
            {
                _clock.Advance(Tick);
                return await server.SessionsAsync() is { Length: 2 } now && !now.Intersect(old).Any();
            },
            "two new ones have taken their place");
    }

    private Task<PoolOnServer> CreateAsync(Action<ConnectionPoolOptions> options) => PoolOnServer.CreateAsync(
        settings =>
        {
            // No flushes in between: they take real time, and this class moves the clock faster than that.
            (settings.MaxSize, settings.Reset) = (8, SessionReset.Rollback);
            settings.MaxLifetime = Timeout.InfiniteTimeSpan;
            settings.IdleTimeout = Timeout.InfiniteTimeSpan;
            options(settings);
        },
        clock: _clock);

    /// <summary>Lets time pass in steps, with a pause in the real world after each, because a tick whose predecessor is still at it is skipped.</summary>
    private async Task PassAsync(TimeSpan time, TimeSpan? step = null)
    {
        for (var left = time; left > TimeSpan.Zero; left -= step ?? TimeSpan.FromSeconds(1))
        {
            _clock.Advance(left < (step ?? TimeSpan.FromSeconds(1)) ? left : step ?? TimeSpan.FromSeconds(1));
            await Task.Delay(TimeSpan.FromMilliseconds(2), TimeProvider.System, Cancellation);
        }

        _clock.Advance(Tick);
        await Task.Delay(TimeSpan.FromMilliseconds(20), TimeProvider.System, Cancellation);
    }
}
