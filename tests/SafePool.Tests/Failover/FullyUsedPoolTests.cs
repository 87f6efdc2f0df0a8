using SafePool.TestKit;
using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.Failover;

/// <summary>A pool in which nothing is ever idle, because more work is done than it has connections, moves and looks all the same.</summary>
public sealed class FullyUsedPoolTests : IAsyncLifetime
{
    private const int MaxSize = 10;

    private PostgresServer _first = null!;
    private PostgresServer _second = null!;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _first = await PostgresServer.StartAsync(cancellationToken: Cancellation);
        _second = await PostgresServer.StartAsync(cancellationToken: Cancellation);
    }

    public async ValueTask DisposeAsync()
    {
        await _first.DisposeAsync();
        await _second.DisposeAsync();
    }

    [Theory]
    [InlineData(20, false)]
    [InlineData(MaxSize, false)]
    [InlineData(20, true)]
    public async Task RentAsync_LoadIsBalancedAndAHostRestarts_IsUsedAgainWhileTheLoadGoesOn(int workers, bool dropIn)
    {
        await using var pool = Pool("Load Balance Hosts=true;Host Recheck Seconds=1", _second.Port);
        await using var load = new Workers(pool, workers, "SELECT current_setting('port')::int FROM pg_sleep(0.01)", dropIn);
        await Eventually.True(async () => await SessionsAsync() is (> 0, > 0), "both are used");
        await _second.StopAsync();
        await Eventually.True(async () => await SessionsAsync(_first) == MaxSize, "all connections lead to the first");

        await _second.StartAgainAsync(Cancellation);

        await Eventually.True(async () => await SessionsAsync() is (4 or 5 or 6, 4 or 5 or 6), "the second has its share again", TimeSpan.FromSeconds(20));
        await load.AnswersAsync(100);
        Assert.InRange(load.LastAnswers(100).Count(port => port == _second.Port), 20, 80);
    }

    [Fact]
    public async Task RentAsync_LoadIsBalancedAndBothAreUp_MovesNothingToAndFro()
    {
        await using var pool = Pool("Load Balance Hosts=true", _second.Port);
        await using var load = new Workers(pool, 20, "SELECT current_setting('port')::int FROM pg_sleep(0.01)");
        await Eventually.True(async () => await SessionsAsync() is (MaxSize / 2, MaxSize / 2), "each has its half", TimeSpan.FromSeconds(20));
        var opened = pool.GetSnapshot().TotalOpened;

        await load.AnswersAsync(5000);

        Assert.Equal(opened, pool.GetSnapshot().TotalOpened);
        Assert.Equal((MaxSize / 2, MaxSize / 2), await SessionsAsync());
    }

    [Fact]
    public async Task RentAsync_LoadIsBalancedAndAHostStaysDown_CostsTheOtherNothing()
    {
        await using var second = TcpProxy.Start(_second.ConnectionString);
        await using var pool = Pool("Load Balance Hosts=true;Host Recheck Seconds=1", second.Port);
        await using var load = new Workers(pool, 20, "SELECT current_setting('port')::int FROM pg_sleep(0.01)");
        await Eventually.True(async () => await SessionsAsync() is (> 0, > 0), "both are used");
        await _second.StopAsync();
        await Eventually.True(async () => await SessionsAsync(_first) == MaxSize, "all connections lead to the first");
        var (knocks, closed) = (second.TotalAccepted, pool.GetSnapshot().TotalClosed);

        await Eventually.True(() => second.TotalAccepted >= knocks + 3, "it is asked again and again", TimeSpan.FromSeconds(20));

        Assert.Equal(closed, pool.GetSnapshot().TotalClosed);
    }

    [Fact]
    public async Task RentAsync_ABetterHostComesBack_HasTheConnectionsAgain()
    {
        await using var pool = Pool("Host Recheck Seconds=1", _second.Port);
        await _first.StopAsync();
        await using var load = new Workers(pool, 20, "SELECT current_setting('port')::int FROM pg_sleep(0.01)");
        await Eventually.True(async () => await SessionsAsync(_second) == MaxSize, "all connections lead to the second");

        await _first.StartAgainAsync(Cancellation);

        await Eventually.True(async () => await SessionsAsync() is (MaxSize, 0), "all lead to the first again", TimeSpan.FromSeconds(20));
    }

    [Fact]
    public async Task RentAsync_ReadWriteIsWantedAndTheFirstHostRefusesWrites_TheOtherServesThem()
    {
        await _first.QueryAsync("CREATE SEQUENCE numbers", Cancellation);
        await _second.QueryAsync("CREATE SEQUENCE numbers", Cancellation);
        await _second.StopAsync();
        await using var pool = Pool("Target Session Attributes=read-write;Host Recheck Seconds=1", _second.Port);
        await using var load = new Workers(pool, 20, "SELECT current_setting('port')::int WHERE nextval('numbers') > 0 AND pg_sleep(0.01) IS NOT NULL");
        await Eventually.True(async () => await SessionsAsync(_first) == MaxSize, "the first serves");
        await _second.StartAgainAsync(Cancellation);

        await _first.QueryAsync("ALTER SYSTEM SET default_transaction_read_only = on", Cancellation);
        await _first.QueryAsync("SELECT pg_reload_conf()", Cancellation);

        await Eventually.True(async () => await SessionsAsync() is (0, MaxSize), "the second serves", TimeSpan.FromSeconds(20));
        await load.AnswersAsync(100);
        Assert.All(load.LastAnswers(100), port => Assert.Equal(_second.Port, port));
    }

    /// <summary>What the pool takes for itself, it gives back, and a return that nobody waits for any more goes its way.</summary>
    [Theory]
    [InlineData(20, false)]
    [InlineData(MaxSize, false)]
    [InlineData(20, true)]
    public async Task AskIdle_SeveralAtOnce_AreServedByReturnsAndNoPlaceIsLost(int workers, bool dropIn)
    {
        await using var pool = Pool("Load Balance Hosts=true", _second.Port);
        await using (var load = new Workers(pool, workers, "SELECT current_setting('port')::int FROM pg_sleep(0.002)", dropIn))
        {
            await load.AnswersAsync(100);
            await Task.WhenAll(Enumerable.Range(0, 4).Select(async _ =>
            {
                for (var question = 0; question < 50; question++)
                {
                    Assert.False(await pool.Parts.Failures.ReadOnly.AskIdle!());
                }
            }));
            await load.AnswersAsync(100);
        }

        await Eventually.True(() => pool.GetSnapshot() is { Leased: 0, Opening: 0 }, "nothing is held");
        await (await pool.RentAsync(MaxSize, Cancellation)).ReturnAllAsync();
        var end = pool.GetSnapshot();
        Assert.Equal(end.TotalOpened - end.TotalClosed, end.Idle);
    }

    [Fact]
    public async Task AskIdle_EveryLeaseIsHeld_HasNoAnswerAndTakesNothingLater()
    {
        await using var pool = Pool("Load Balance Hosts=true", _second.Port);
        var held = await pool.RentAsync(MaxSize, Cancellation);

        Assert.Null(await pool.Parts.Failures.ReadOnly.AskIdle!());

        await held.ReturnAllAsync();
        await Eventually.True(() => pool.GetSnapshot() is { Leased: 0, Idle: MaxSize }, "all are idle");
    }

    private static async Task<long> SessionsAsync(PostgresServer server)
        => await server.QueryAsync("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'full'", Cancellation) as long? ?? -1;

    private async Task<(long First, long Second)> SessionsAsync() => (await SessionsAsync(_first), await SessionsAsync(_second));

    private ConnectionPool Pool(string keywords, int second)
        => ConnectionPool.Create($"{ReplicatedPair.Over(_first.Port, second)};SSL Mode=Disable;Gss Encryption Mode=Disable;Application Name=full;{keywords}", options =>
            (options.MaxSize, options.AcquireTimeout) = (MaxSize, TimeSpan.FromMinutes(1)));
}
