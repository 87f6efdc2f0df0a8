using System.Net.Sockets;
using Npgsql;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Breaker;

/// <summary>A pool whose opens fail, on a clock that the tests move.</summary>
public sealed class OutageTests
{
    private const int OpensFail = 127;
    private const int CircuitOpened = 128;
    private const int CircuitClosed = 129;

    private static readonly NpgsqlException _refused = new("refused", new SocketException((int)SocketError.ConnectionRefused));
    private static readonly PostgresException _wrongPassword = new("wrong password", "FATAL", "FATAL", PostgresErrorCodes.InvalidPassword);

    [Fact]
    public async Task RentAsync_ABlip_CostsLatencyOnly()
    {
        await using var scripted = ScriptedPool.Create();
        scripted.Source.FailOpensWith = _refused;
        Task<Lease>[] rents = [scripted.BeginRent(), scripted.BeginRent(), scripted.BeginRent()];
        await scripted.UntilAsync(pool => pool.LastConnectError is not null && pool.Opening == 0);

        scripted.Source.FailOpensWith = null;
        Assert.All(rents, rent => Assert.False(rent.IsCompleted));
        scripted.Tick(4);

        foreach (var rent in rents)
        {
            await (await rent).DisposeAsync();
        }

        Assert.Equal((CircuitState.Closed, 0L, 0L), (scripted.Snapshot.Circuit, scripted.Snapshot.TotalTimeouts, scripted.Snapshot.TotalRejected));
        Assert.Single(scripted.Log.Entries, entry => entry.EventId == OpensFail);
        Assert.Single(scripted.Log.Entries, entry => entry.EventId == CircuitClosed);
    }

    [Fact]
    [Trait("Conformance", "9")]
    [Trait("Conformance", "79")]
    public async Task RentAsync_WhileOpensFail_OneAtATimeIsTriedAndNoneTooEarly()
    {
        await using var scripted = ScriptedPool.Create(options =>
        {
            options.Breaker.TripAfter = TimeSpan.FromMinutes(1);
            (options.Breaker.ProbeInterval, options.Breaker.MaxProbeInterval) = (TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(1));
        });
        scripted.Source.HoldOpens = true;
        var rents = Enumerable.Range(0, 8).Select(_ => scripted.BeginRent(TimeSpan.FromMinutes(10))).ToArray();
        await scripted.Source.PendingOpensReachAsync(4);
        for (var i = 0; i < 4; i++)
        {
            scripted.Source.FailNextOpen(_refused);
        }

        for (var attempt = 0; attempt < 5; attempt++)
        {
            // The pause begins where the failure is noted, which is on a thread of the pool.
            await scripted.UntilAsync(pool => pool.Opening == 0);
            Assert.Equal(4 + attempt, scripted.Source.Opens);
            scripted.Tick(3);
            Assert.Equal(0, scripted.Source.PendingOpens);
            scripted.Tick();
            await scripted.Source.PendingOpensReachAsync(1);
            scripted.Source.FailNextOpen(_refused);
        }

        await scripted.UntilAsync(pool => pool.Opening == 0);
        scripted.Tick(4);
        await scripted.Source.PendingOpensReachAsync(1);
        scripted.Source.CompleteNextOpen();
        await scripted.Source.PendingOpensReachAsync(4);
        Assert.Equal(4, scripted.Source.PeakConcurrentOpens);
        scripted.Source.HoldOpens = false;
        while (scripted.Source.PendingOpens > 0)
        {
            scripted.Source.CompleteNextOpen();
        }

        await Task.WhenAll(rents);
    }

    [Fact]
    public async Task Maintenance_WhileOpensFailAndNobodyWaitsAnyMore_GoesOnTryingUntilOneSucceeds()
    {
        await using var scripted = ScriptedPool.Create(options => options.Breaker.TripAfter = TimeSpan.FromMinutes(1));
        scripted.Source.FailOpensWith = _refused;
        await FailAsync<ConnectTimeoutException>(scripted, TimeSpan.FromMilliseconds(400), ticks: 2);

        scripted.Source.FailOpensWith = null;
        await scripted.UntilAsync(_ =>
        {
            scripted.Tick();
            return scripted.Snapshot is { Idle: 1, LastConnectError: null };
        });
    }

    [Fact]
    [Trait("Conformance", "75")]
    [Trait("Conformance", "80")]
    [Trait("Conformance", "85")]
    public async Task RentAsync_CircuitIsOpen_FailsAtOnceWithTheStoredCauseAndWithoutAnAttempt()
    {
        await using var scripted = await OpenCircuitAsync();
        var attempts = scripted.Source.Opens;

        var first = await Assert.ThrowsAsync<CircuitOpenException>(() => scripted.BeginRent());
        var second = Assert.Throws<CircuitOpenException>(() => scripted.Pool.Rent());

        Assert.NotSame(first, second);
        Assert.Same(_refused, first.InnerException);
        Assert.Same(_refused, second.InnerException);
        Assert.InRange(first.RetryAfter!.Value, TimeSpan.Zero, TimeSpan.FromSeconds(1));
        Assert.True(first.FailingFor >= TimeSpan.FromSeconds(2));
        Assert.False(first.IsTransient);
        Assert.Contains("cannot connect", first.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("exhausted", first.Message, StringComparison.Ordinal);
        Assert.Equal(attempts, scripted.Source.Opens);
        Assert.False(scripted.Pool.TryRent(out _));
        await Assert.ThrowsAsync<CircuitOpenException>(() => scripted.BeginRent(TimeSpan.Zero));
    }

    [Fact]
    [Trait("Conformance", "82")]
    public async Task CircuitOpens_WithWaitersInTheQueue_FailsThemAtOnce()
    {
        await using var scripted = ScriptedPool.Create();
        scripted.Source.FailOpensWith = _refused;
        var rents = Enumerable.Range(0, 5).Select(_ => scripted.BeginRent(TimeSpan.FromMinutes(10))).ToArray();
        await scripted.UntilAsync(pool => pool.LastConnectError is not null && pool.Opening == 0);

        await TripAsync(scripted);

        foreach (var rent in rents)
        {
            await Assert.ThrowsAsync<CircuitOpenException>(() => rent);
        }

        Assert.Equal((0, 5L), (scripted.Snapshot.Waiting, scripted.Snapshot.TotalRejected));
        var entry = Assert.Single(scripted.Log.Entries, entry => entry.EventId == CircuitOpened);
        Assert.Contains("5 waiting rents failed", entry.Message, StringComparison.Ordinal);
        Assert.Contains("CircuitOpened", scripted.Pool.DumpFlightRecorder().Replace("circuit opened", "CircuitOpened", StringComparison.Ordinal), StringComparison.Ordinal);
    }

    [Fact]
    [Trait("Conformance", "78")]
    public async Task RentAsync_CircuitIsOpenAndSomethingIsIdle_IsServed()
    {
        await using var scripted = ScriptedPool.Create(options => (options.MaxSize, options.Breaker.TripAfter) = (2, TimeSpan.FromSeconds(1)));
        var kept = await scripted.BeginRent();
        scripted.Source.FailOpensWith = _refused;
        var waiting = scripted.BeginRent(TimeSpan.FromMinutes(1));
        await scripted.UntilAsync(pool => pool.LastConnectError is not null);
        await TripAsync(scripted);
        await Assert.ThrowsAsync<CircuitOpenException>(() => waiting);

        await kept.DisposeAsync();

        for (var i = 0; i < 3; i++)
        {
            await (await scripted.BeginRent()).DisposeAsync();
            Assert.True(scripted.Pool.TryRent(out var idle));
            idle.Dispose();
        }

        Assert.NotEqual(CircuitState.Closed, scripted.Snapshot.Circuit);
    }

    /// <summary>A probe sets aside what is idle for the instant in which it begins to connect; whoever rents in that instant must not hear that there is nothing.</summary>
    [Fact]
    [Trait("Conformance", "78")]
    public async Task RentAsync_InTheInstantInWhichAProbeHasSetTheIdleAside_IsServedIfThereIsEnough()
    {
        await using var scripted = ScriptedPool.Create(options => (options.MaxSize, options.Breaker.TripAfter) = (3, TimeSpan.FromSeconds(1)));
        var kept = await scripted.BeginRent();
        scripted.Source.FailOpensWith = _refused;
        var waiting = scripted.BeginRent(TimeSpan.FromMinutes(1));
        await scripted.UntilAsync(pool => pool.LastConnectError is not null);
        await TripAsync(scripted);
        await Assert.ThrowsAsync<CircuitOpenException>(() => waiting);
        await kept.DisposeAsync();
        Task<Lease>[] rents = [];
        scripted.Source.BeforeNextOpen(() => rents = [scripted.BeginRent(TimeSpan.FromMinutes(1)), scripted.BeginRent(TimeSpan.FromMinutes(1))]);

        await Eventually.True(
            () =>
            {
                scripted.Tick();
                return rents.Length == 2;
            },
            "a probe has begun");

        await using var served = await rents[0];
        await Assert.ThrowsAsync<CircuitOpenException>(() => rents[1]);
        Assert.Equal((1, 0), (scripted.Snapshot.Leased, scripted.Snapshot.Waiting));
    }

    [Fact]
    [Trait("Conformance", "79")]
    public async Task CircuitIsOpen_AProbeFailsAndTheNextSucceeds_ClosesWithoutARequest()
    {
        await using var scripted = await OpenCircuitAsync();
        scripted.Source.FailOpensWith = null;
        scripted.Source.HoldOpens = true;

        scripted.Tick(4);
        await scripted.Source.PendingOpensReachAsync(1);
        Assert.Equal(CircuitState.Probing, scripted.Snapshot.Circuit);
        await Assert.ThrowsAsync<CircuitOpenException>(() => scripted.BeginRent());
        scripted.Tick(4);
        Assert.Equal(1, scripted.Source.PendingOpens);
        scripted.Source.FailNextOpen(_refused);
        await scripted.UntilAsync(pool => pool.Circuit == CircuitState.Open);
        scripted.Tick(4);
        await scripted.Source.PendingOpensReachAsync(1);
        scripted.Source.CompleteNextOpen();

        await scripted.UntilAsync(pool => pool is { Circuit: CircuitState.Closed, Idle: 1, LastConnectError: null });
        await (await scripted.BeginRent()).DisposeAsync();
        Assert.Single(scripted.Log.Entries, entry => entry.EventId == CircuitClosed);
    }

    [Fact]
    [Trait("Conformance", "81")]
    [Trait("Conformance", "63")]
    public async Task Clear_CircuitIsOpen_ClosesItAndTriesAtOnce()
    {
        await using var scripted = await OpenCircuitAsync();
        scripted.Source.FailOpensWith = null;

        scripted.Pool.Clear();

        Assert.Equal(CircuitState.Closed, scripted.Snapshot.Circuit);
        await (await scripted.BeginRent()).DisposeAsync();
    }

    [Fact]
    [Trait("Conformance", "63")]
    [Trait("Conformance", "76")]
    public async Task Clear_WhileRidingThrough_TriesForThoseWhoWaitWithoutAPause()
    {
        await using var scripted = ScriptedPool.Create();
        scripted.Source.FailOpensWith = _refused;
        var rent = scripted.BeginRent();
        await scripted.UntilAsync(pool => pool.LastConnectError is not null && pool.Opening == 0);
        scripted.Source.FailOpensWith = null;

        scripted.Pool.Clear();

        await (await rent).DisposeAsync();
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    [Trait("Conformance", "77")]
    public async Task RentAsync_CallersCancelOrRunOutOfTimeWhileAnOpenIsSlow_NeverTripsIt(bool cancel)
    {
        await using var scripted = ScriptedPool.Create(options => options.ConnectTimeout = TimeSpan.FromMinutes(1));
        scripted.Source.HoldOpens = true;
        for (var i = 0; i < 20; i++)
        {
            using var cancellation = new CancellationTokenSource();
            var rent = scripted.Pool.RentAsync(new RentOptions { AcquireTimeout = TimeSpan.FromMilliseconds(100) }, cancellation.Token).AsTask();
            if (cancel)
            {
                await cancellation.CancelAsync();
                await Assert.ThrowsAsync<OperationCanceledException>(() => rent);
            }

            scripted.Tick();
            await Task.WhenAny(rent);
        }

        Assert.Equal(CircuitState.Closed, scripted.Snapshot.Circuit);
        Assert.Null(scripted.Snapshot.LastConnectError);
    }

    [Fact]
    [Trait("Conformance", "75")]
    public async Task RentAsync_WrongPassword_IsToldToEachAtOnceAndIsNoOutage()
    {
        await using var scripted = ScriptedPool.Create();
        scripted.Source.FailOpensWith = _wrongPassword;

        for (var i = 0; i < 5; i++)
        {
            Assert.Same(_wrongPassword, await Assert.ThrowsAsync<PostgresException>(() => scripted.BeginRent()));
            scripted.Tick(10);
        }

        Assert.Equal(CircuitState.Closed, scripted.Snapshot.Circuit);
    }

    /// <summary>A server that comes back with another password is back: the circuit must not hide what it says.</summary>
    [Fact]
    public async Task CircuitIsOpen_TheServerIsBackButRefusesThePassword_ClosesAndTellsIt()
    {
        await using var scripted = await OpenCircuitAsync();
        scripted.Source.FailOpensWith = _wrongPassword;

        scripted.Tick(4);
        await scripted.UntilAsync(pool => pool.Circuit == CircuitState.Closed);

        await Assert.ThrowsAsync<PostgresException>(() => scripted.BeginRent());
    }

    /// <summary>What goes wrong in this process proves nothing about the server: nobody may believe that it is back, nor that it is gone.</summary>
    [Fact]
    public async Task CircuitIsOpen_AProbeMeetsAFaultOfThisProcess_StaysOpenAndGoesOnProbing()
    {
        await using var scripted = await OpenCircuitAsync();
        var fault = new InvalidOperationException("the vault is sealed");
        scripted.Source.FailOpensWith = fault;

        await Eventually.True(
            () =>
            {
                scripted.Tick();
                return scripted.Snapshot.LastConnectError == fault;
            },
            "a probe has met it");

        await scripted.UntilAsync(pool => pool.Opening == 0);
        Assert.NotEqual(CircuitState.Closed, scripted.Snapshot.Circuit);
        scripted.Source.FailOpensWith = null;
        await Eventually.True(
            () =>
            {
                scripted.Tick();
                return scripted.Snapshot.Circuit == CircuitState.Closed;
            },
            "another probe has found the server");
    }

    [Fact]
    public async Task RentAsync_AFaultOfThisProcess_SurfacesAtOnceAndIsNoOutage()
    {
        await using var scripted = ScriptedPool.Create(options => options.Breaker.TripAfter = TimeSpan.FromSeconds(1));
        scripted.Source.FailOpensWith = new ArgumentException("no such key");

        for (var i = 0; i < 5; i++)
        {
            await Assert.ThrowsAsync<ArgumentException>(() => scripted.BeginRent());
            scripted.Tick(10);
        }

        Assert.Equal(CircuitState.Closed, scripted.Snapshot.Circuit);
    }

    /// <summary>A full server has answered too: the circuit closes, and that is said like any other change.</summary>
    [Fact]
    public async Task CircuitIsOpen_TheServerIsBackAndFull_ClosesAndSaysSo()
    {
        await using var scripted = ScriptedPool.Create(options => (options.MaxSize, options.Breaker.TripAfter) = (2, TimeSpan.FromSeconds(1)));
        using var kept = await scripted.BeginRent();
        scripted.Source.FailOpensWith = _refused;
        var waiting = scripted.BeginRent(TimeSpan.FromMinutes(1));
        await scripted.UntilAsync(pool => pool.LastConnectError is not null);
        await TripAsync(scripted);
        await Assert.ThrowsAsync<CircuitOpenException>(() => waiting);
        scripted.Source.FailOpensWith = new PostgresException("full", "FATAL", "FATAL", PostgresErrorCodes.TooManyConnections);

        scripted.Tick(4);
        await scripted.UntilAsync(pool => pool.Circuit == CircuitState.Closed);

        await Eventually.True(() => scripted.Log.Entries.Any(entry => entry.EventId == CircuitClosed), "the change is said");
        Assert.Equal(1, scripted.Snapshot.EffectiveMaxSize);
    }

    [Fact]
    [Trait("Conformance", "7")]
    public async Task Maintenance_MinimumCannotBeOpened_IsAbsorbedAndStandsDownWhileTheCircuitIsOpen()
    {
        await using var scripted = ScriptedPool.Create(options => options.MinSize = 3);
        scripted.Source.FailOpensWith = _refused;
        scripted.Tick();
        await scripted.UntilAsync(pool => pool.LastConnectError is not null && pool.Opening == 0);
        await TripAsync(scripted);
        var attempts = scripted.Source.Opens;

        scripted.Source.HoldOpens = true;
        scripted.Source.FailOpensWith = null;
        scripted.Tick(8);

        await scripted.Source.PendingOpensReachAsync(1);
        Assert.Equal(attempts + 1, scripted.Source.Opens);
        scripted.Source.HoldOpens = false;
        scripted.Source.CompleteNextOpen();
        await scripted.UntilAsync(pool => pool.Circuit == CircuitState.Closed);
        await Eventually.True(
            () =>
            {
                scripted.Tick();
                return scripted.Snapshot.Idle == 3;
            },
            "the minimum is filled");
    }

    [Fact]
    [Trait("Conformance", "7")]
    [Trait("Conformance", "84")]
    public async Task WarmUpAsync_CircuitIsOpen_ThrowsTheCauseOnceItsBudgetIsOver()
    {
        await using var scripted = ScriptedPool.Create(options => (options.MinSize, options.AcquireTimeout) = (2, TimeSpan.FromSeconds(4)));
        scripted.Source.FailOpensWith = _refused;

        var warming = scripted.Pool.WarmUpAsync(TestContext.Current.CancellationToken);
        await Eventually.True(
            () =>
            {
                scripted.Tick();
                return warming.IsCompleted;
            },
            "it gives up");

        Assert.Same(_refused, await Assert.ThrowsAsync<NpgsqlException>(() => warming));
        Assert.NotEqual(CircuitState.Closed, scripted.Snapshot.Circuit);
    }

    [Fact]
    public async Task ConnectionBreaks_InItsUsersHands_TheNextOpenIsOnItsOwn()
    {
        await using var scripted = ScriptedPool.Create();
        var leases = await scripted.RentManyAsync(3);
        scripted.Source.HoldOpens = true;
        var rents = Enumerable.Range(0, 3).Select(_ => scripted.BeginRent()).ToArray();
        await scripted.Source.PendingOpensReachAsync(3);
        for (var i = 0; i < 3; i++)
        {
            scripted.Source.CompleteNextOpen();
        }

        await Task.WhenAll(rents);
        scripted.Source.Break(leases[0].Connection);
        await leases[0].DisposeAsync();
        rents = [.. Enumerable.Range(0, 3).Select(_ => scripted.BeginRent())];

        await scripted.Source.PendingOpensReachAsync(1);
        scripted.Source.CompleteNextOpen();
        await scripted.Source.PendingOpensReachAsync(2);
    }

    private static async Task<ScriptedPool> OpenCircuitAsync()
    {
        var scripted = ScriptedPool.Create();
        scripted.Source.FailOpensWith = _refused;
        var rent = scripted.BeginRent();
        await scripted.UntilAsync(pool => pool.LastConnectError is not null && pool.Opening == 0);
        await TripAsync(scripted);
        await Assert.ThrowsAsync<CircuitOpenException>(() => rent);
        return scripted;
    }

    private static async Task TripAsync(ScriptedPool scripted)
        => await Eventually.True(
            () =>
            {
                scripted.Tick();
                return scripted.Snapshot is { Circuit: CircuitState.Open, Opening: 0 };
            },
            "the circuit opens");

    private static async Task FailAsync<T>(ScriptedPool scripted, TimeSpan budget, int ticks)
        where T : Exception
    {
        var rent = scripted.BeginRent(budget);
        await scripted.UntilAsync(pool => pool.LastConnectError is not null && pool.Opening == 0);
        scripted.Tick(ticks);
        await Assert.ThrowsAsync<T>(() => rent);
    }
}
