using Npgsql;
using SafePool.Admission;
using SafePool.Breaker;
using SafePool.Driver.Control;
using SafePool.Logging;
using SafePool.TestKit;
using SafePool.Time;
using Xunit;

namespace SafePool.Tests.Breaker;

/// <summary>A server that refuses one more connection, on a clock that the tests move.</summary>
public sealed class ServerRoomTests
{
    private const int ServerFull = 133;
    private const int ServerHasRoom = 134;

    private static readonly PostgresException _full = new("too many clients", "FATAL", "FATAL", PostgresErrorCodes.TooManyConnections);

    [Fact]
    public async Task RentAsync_TheServerRefusesOneMore_LowersTheMaximumAndServesFromWhatThereIs()
    {
        await using var scripted = ScriptedPool.Create(options => options.MaxSize = 5);
        var leases = await scripted.RentManyAsync(2);
        scripted.Source.Census = Census();
        scripted.Source.FailOpensWith = _full;
        var waiting = scripted.BeginRent();
        await scripted.UntilAsync(pool => pool.EffectiveMaxSize == 2);

        await leases[0].DisposeAsync();

        await using var served = await waiting;
        Assert.Equal(CircuitState.Closed, scripted.Snapshot.Circuit);
        await Eventually.True(() => scripted.Log.Entries.Any(entry => entry.EventId == ServerFull), "it is said");
        var said = Assert.Single(scripted.Log.Entries, entry => entry.EventId == ServerFull).Message;
        Assert.Contains("no room for more than 2 of its 5 connections", said, StringComparison.Ordinal);
        Assert.Contains("max_connections is 100 with 3 reserved, the role to 20.", said, StringComparison.Ordinal);
        Assert.Contains("Connections by application: 90 reports, 2 orders.", said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task RentAsync_OutOfTimeOnAFullServer_SaysWhenItIsTriedAgain()
    {
        await using var scripted = ScriptedPool.Create(options => options.MaxSize = 5);
        await scripted.RentManyAsync(2);
        scripted.Source.FailOpensWith = _full;
        var rent = scripted.BeginRent(TimeSpan.FromMilliseconds(500));
        await scripted.UntilAsync(pool => pool.EffectiveMaxSize == 2);
        scripted.Tick(2);

        var error = await Assert.ThrowsAsync<PoolExhaustedException>(() => rent);

        Assert.Equal(TimeSpan.FromMilliseconds(500), error.RetryAfter);
        Assert.Equal(2, error.Snapshot.EffectiveMaxSize);
    }

    [Fact]
    public async Task Maintenance_TheServerHasRoomAgain_GrowsBackOneByOneWhileSomebodyWaits()
    {
        await using var scripted = ScriptedPool.Create(options => (options.MaxSize, options.AcquireTimeout) = (4, TimeSpan.FromMinutes(10)));
        await scripted.RentManyAsync(1);
        scripted.Source.FailOpensWith = _full;
        var rents = Enumerable.Range(0, 3).Select(_ => scripted.BeginRent()).ToArray();
        await scripted.UntilAsync(pool => pool.EffectiveMaxSize == 1 && pool.Opening == 0);

        scripted.Tick(3);
        var attempts = scripted.Source.Opens;
        scripted.Source.FailOpensWith = null;
        scripted.Tick();

        await scripted.UntilAsync(pool => pool.Leased == 4);
        await Task.WhenAll(rents);

        Assert.Equal((4, 4), (scripted.Snapshot.Leased, scripted.Snapshot.EffectiveMaxSize));
        Assert.Equal(attempts + 3, scripted.Source.Opens);
        await Eventually.True(() => scripted.Log.Entries.Any(entry => entry.EventId == ServerHasRoom), "it is said");
    }

    /// <summary>Who says that it is full is asked after 1, 2, 4, 8 and 16 seconds; whose answer only may mean that, every second.</summary>
    [Theory]
    [InlineData("53300", "too many clients", 5)]
    [InlineData("XX000", "(EMAXCLIENTS) max clients reached in session mode", 5)]
    [InlineData("XX000", "Too many connections to this endpoint", 5)]
    [InlineData("XX000", "words that nobody knows", 31)]
    [InlineData("08P01", "query_wait_timeout", 31)]
    [InlineData("55000", "database \"orders\" is not currently accepting connections", 31)]
    public async Task Maintenance_OneMoreIsRefusedAgainAndAgain_AsksSeldomerOnlyWhereItIsSureToBeFull(string sqlState, string words, int expected)
    {
        var (scripted, _) = await RefusedAsync(new PostgresException(words, "FATAL", "FATAL", sqlState));
        await using var end = scripted;

        Assert.Equal(expected, await AttemptsInAsync(scripted, seconds: 31));
    }

    /// <summary>Found by chaos (seed 261207684): the pool stayed at one connection for half a minute after the server was back.</summary>
    [Fact]
    public async Task Maintenance_ALostConnectionCameBack_AsksOftenAgain()
    {
        var (scripted, lease) = await RefusedAsync(_full);
        await using var end = scripted;
        await AttemptsInAsync(scripted, seconds: 31);
        scripted.Source.FailOpensWith = null;
        scripted.Source.Break(lease.Connection);
        await lease.DisposeAsync();
        await scripted.UntilAsync(pool => pool.Leased == 1);
        scripted.Source.FailOpensWith = _full;
        _ = scripted.BeginRent();

        Assert.Equal(2, await AttemptsInAsync(scripted, seconds: 3));
    }

    /// <summary>What a server had room for says nothing about the one that comes back after an outage.</summary>
    [Fact]
    public async Task RentAsync_AllWereLostAndTheServerIsGone_ForgetsWhatItHadRoomFor()
    {
        var (scripted, lease) = await RefusedAsync(_full);
        await using var end = scripted;
        scripted.Source.FailOpensWith = new NpgsqlException("refused", new System.Net.Sockets.SocketException(111));
        scripted.Source.Break(lease.Connection);
        await lease.DisposeAsync();

        await scripted.UntilAsync(pool => pool.EffectiveMaxSize == 4);
    }

    /// <summary>The last open went well, for it replaced one that was lost; the room is what it was.</summary>
    [Fact]
    public async Task RentAsync_OutOfTimeAndTheLastOpenWentWell_StillNamesTheRefusal()
    {
        var (scripted, lease) = await RefusedAsync(_full);
        await using var end = scripted;
        scripted.Source.FailOpensWith = null;
        scripted.Source.Break(lease.Connection);
        await lease.DisposeAsync();
        await scripted.UntilAsync(pool => pool.Leased == 1);
        var rent = scripted.BeginRent(TimeSpan.FromMilliseconds(500));
        scripted.Source.FailOpensWith = _full;
        scripted.Tick(2);

        var error = await Assert.ThrowsAsync<PoolExhaustedException>(() => rent);

        Assert.Equal(PoolVerdict.ServerFull, error.Diagnosis.Verdict);
        Assert.Contains("too many clients", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task RentAsync_TheServerIsFullAndNobodyMayWait_IsRejectedAtOnce()
    {
        await using var scripted = ScriptedPool.Create(options => (options.MaxSize, options.MaxWaiters) = (5, 0));
        await scripted.RentManyAsync(2);
        scripted.Source.FailOpensWith = _full;
        _ = scripted.BeginRent();
        await scripted.UntilAsync(pool => pool.EffectiveMaxSize == 2);

        await Assert.ThrowsAsync<PoolRejectedException>(() => scripted.BeginRent());
    }

    [Fact]
    public async Task RentAsync_TheServerIsFullAndThePoolHasNothing_IsAnOutage()
    {
        await using var scripted = ScriptedPool.Create(options => options.Breaker.TripAfter = TimeSpan.Zero);
        scripted.Source.FailOpensWith = _full;

        var error = await Assert.ThrowsAsync<CircuitOpenException>(() => scripted.BeginRent());

        Assert.Same(_full, error.InnerException);
        Assert.Equal(error.Snapshot.MaxSize, error.Snapshot.EffectiveMaxSize);
    }

    [Fact]
    public async Task Clear_OnAFullServer_ForgetsWhatWasKnown()
    {
        await using var scripted = ScriptedPool.Create(options => options.MaxSize = 5);
        await scripted.RentManyAsync(2);
        scripted.Source.FailOpensWith = _full;
        var rent = scripted.BeginRent(TimeSpan.FromMinutes(1));
        await scripted.UntilAsync(pool => pool.EffectiveMaxSize == 2);
        scripted.Source.FailOpensWith = null;

        scripted.Pool.Clear();

        await (await rent).DisposeAsync();
        Assert.Equal(5, scripted.Snapshot.EffectiveMaxSize);
    }

    /// <summary>An open that takes longer than the pause may be refused after one more was allowed, and takes that back: the pool would keep its size of then for ever.</summary>
    [Fact]
    public void TryForOneMore_ASlowOpenWasRefusedAfterOneMoreWasAllowed_AllowsOneMoreLater()
    {
        var time = new ManualTimeProvider();
        var clock = new PoolClock(time);
        var gate = new AdmissionGate(size: 4, maxWaiters: 10, maxConcurrentOpens: 4);
        var room = new ServerRoom(gate, clock);
        var two = new GateCounts(Idle: 0, Leased: 2, Opening: 0, Quarantined: 0, Waiting: 0) { Size = 4, Limit = 4 };
        var slow = clock.Exact;
        time.Advance(TimeSpan.FromMilliseconds(100));
        room.Refused(_full, two, begunAt: clock.Exact);
        time.Advance(TimeSpan.FromSeconds(1));
        room.TryForOneMore();
        Assert.Equal(3, gate.Limit);

        room.Refused(_full, two, begunAt: slow);

        Assert.Equal(2, gate.Limit);
        time.Advance(TimeSpan.FromMinutes(1));
        room.TryForOneMore();
        Assert.Equal(3, gate.Limit);
    }

    /// <summary>Found by chaos (seed 50143390): opens that were granted after one was refused left the pool at its size of then for ever.</summary>
    [Fact]
    public async Task RentAsync_OpensWereGrantedAfterAnotherWasRefused_GrowsBackAllTheSame()
    {
        await using var scripted = ScriptedPool.Create(options => (options.MaxSize, options.MaxConcurrentOpens, options.AcquireTimeout) = (6, 3, TimeSpan.FromMinutes(10)));
        await scripted.RentManyAsync(1);
        scripted.Source.HoldOpens = true;
        var rents = Enumerable.Range(0, 5).Select(_ => scripted.BeginRent()).ToArray();
        await scripted.Source.PendingOpensReachAsync(3);
        scripted.Source.FailNextOpen(_full);
        await scripted.UntilAsync(pool => pool.EffectiveMaxSize == 1);
        scripted.Source.CompleteNextOpen();
        await scripted.UntilAsync(pool => pool.Leased == 2);
        scripted.Source.CompleteNextOpen();
        await scripted.UntilAsync(pool => pool.Leased == 3);

        scripted.Source.HoldOpens = false;
        for (var second = 0; second < 40 && scripted.Snapshot.Leased < 6; second++)
        {
            scripted.Tick(4);
            await scripted.UntilAsync(pool => AreThrough(pool));
        }

        Assert.Equal((6, 6), (scripted.Snapshot.Leased, scripted.Snapshot.EffectiveMaxSize));
        await Task.WhenAll(rents);

        bool AreThrough(PoolSnapshot pool)
        {
            // One may have begun while they were still held.
            while (scripted.Source.PendingOpens > 0)
            {
                scripted.Source.CompleteNextOpen();
            }

            return pool.Opening == 0;
        }
    }

    /// <summary>A pool of four with one connection, leased, that was refused another one, and one that waits.</summary>
    private static async Task<(ScriptedPool Pool, Lease Lease)> RefusedAsync(Exception refusal)
    {
        var scripted = ScriptedPool.Create(options => (options.MaxSize, options.AcquireTimeout) = (4, TimeSpan.FromMinutes(10)));
        var leases = await scripted.RentManyAsync(1);
        scripted.Source.FailOpensWith = refusal;
        _ = scripted.BeginRent();
        await scripted.UntilAsync(pool => pool.EffectiveMaxSize == 1 && pool.Opening == 0);
        return (scripted, leases[0]);
    }

    private static async Task<int> AttemptsInAsync(ScriptedPool scripted, int seconds)
    {
        var before = scripted.Source.Opens;
        for (var quarter = 0; quarter < 4 * seconds; quarter++)
        {
            scripted.Tick();

            // The refusal has been heard once the limit is what it was.
            await scripted.UntilAsync(pool => pool is { Opening: 0, EffectiveMaxSize: 1 });
        }

        return scripted.Source.Opens - before;
    }

    private static ServerCensus Census() => new()
    {
        MaxConnections = 100,
        Reserved = 3,
        DatabaseLimit = null,
        RoleLimit = 20,
        IsDirect = true,
        Users = ["90 reports", "2 orders"],
    };
}
