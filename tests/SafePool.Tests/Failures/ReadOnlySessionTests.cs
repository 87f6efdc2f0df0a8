using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Failover;
using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.Failures;

public sealed class ReadOnlySessionTests : IAsyncLifetime
{
    private const int Retired = 171;
    private const int OnStandby = 172;

    private ReplicatedPair _pair = null!;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _pair = await ReplicatedPair.StartAsync(cancellationToken: Cancellation);
        await _pair.Primary.QueryAsync("CREATE TABLE written (id int)", Cancellation);
        await _pair.CatchUpAsync();
    }

    public ValueTask DisposeAsync() => _pair.DisposeAsync();

    /// <summary>A name, one host: its sessions are on a server that is a standby; then the name leads to the primary. Nothing but age ended them.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Insert_TheNameLeadsToThePrimaryNow_ReachesItWithinAFewAttempts(bool nothingIsIdle)
    {
        await using var name = new SwitchedForwarder(_pair.Standby.Port);
        using var logs = new LogCollector();
        await using var pool = Create(name, logs);
        await pool.FillAsync(4, Cancellation);
        var held = nothingIsIdle ? await pool.RentAsync(3, Cancellation) : [];

        name.LeadTo(_pair.Primary.Port);
        var failed = 0;
        await Eventually.True(async () => !await IsRefusedAsync(pool) || failed++ < 0, "an insert succeeds");

        Assert.InRange(failed, 1, 100);
        Assert.Contains(logs.Entries, entry => entry.EventId.Id == Retired && entry.Message.Contains("25006", StringComparison.Ordinal));
        await held.ReturnAllAsync();
        for (var request = 0; request < 20; request++)
        {
            Assert.False(await IsRefusedAsync(pool));
        }

        Assert.Single(logs.Entries, entry => entry.EventId.Id == Retired);
    }

    /// <summary>Behind a pooler, and of a server before 14, the sessions have to be asked, and none is ever idle.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Insert_TheNameLeadsToThePrimaryNowAndThePoolIsFullyUsed_ReachesIt(bool behindAPooler)
    {
        await using var standbys = behindAPooler ? await PgBouncerServer.StartAsync(_pair.Standby.ConnectionString, cancellationToken: Cancellation) : null;
        await using var primaries = behindAPooler ? await PgBouncerServer.StartAsync(_pair.Primary.ConnectionString, cancellationToken: Cancellation) : null;
        await using var name = new SwitchedForwarder(standbys?.Port ?? _pair.Standby.Port);
        using var logs = new LogCollector();
        await using var pool = Create(name, logs);
        await pool.FillAsync(4, Cancellation);
        await using var load = new Workers(pool, 8, "WITH written AS (INSERT INTO written VALUES (1) RETURNING id) SELECT current_setting('port')::int FROM written, pg_sleep(0.01)");

        name.LeadTo(primaries?.Port ?? _pair.Primary.Port);

        await load.AnswersAsync(100);
        Assert.All(load.LastAnswers(100), port => Assert.Equal(_pair.Primary.Port, port));
    }

    [Fact]
    public async Task Insert_ANewSessionWouldBeOnAStandbyToo_RetiresNothingAndSaysSoOnce()
    {
        await using var name = new SwitchedForwarder(_pair.Standby.Port);
        using var logs = new LogCollector();
        await using var pool = Create(name, logs);
        await pool.FillAsync(2, Cancellation);
        var opened = pool.GetSnapshot().TotalOpened;

        Assert.True(await IsRefusedAsync(pool));
        await logs.WaitForAsync(entry => entry.EventId.Id == OnStandby);
        Assert.True(await IsRefusedAsync(pool));

        Assert.Equal(opened, pool.GetSnapshot().TotalOpened);
        Assert.DoesNotContain(logs.Entries, entry => entry.EventId.Id == Retired);
        Assert.Single(logs.Entries, entry => entry.EventId.Id == OnStandby);
    }

    [Theory]
    [InlineData("BEGIN READ ONLY")]
    [InlineData("SET default_transaction_read_only = on")]
    public async Task Insert_ItsUserWishedToReadOnly_RetiresNothing(string wish)
    {
        await using var name = new SwitchedForwarder(_pair.Primary.Port);
        using var logs = new LogCollector();
        await using var pool = Create(name, logs);
        await pool.FillAsync(2, Cancellation);
        var opened = pool.GetSnapshot().TotalOpened;

        for (var request = 0; request < 5; request++)
        {
            await using var lease = await pool.RentAsync(Cancellation);
            await lease.DoAsync(wish);
            var error = await Assert.ThrowsAsync<PostgresException>(() => lease.DoAsync("INSERT INTO written VALUES (1)"));
            Assert.Equal(PostgresErrorCodes.ReadOnlySqlTransaction, error.SqlState);
        }

        Assert.Equal(opened, pool.GetSnapshot().TotalOpened);
        Assert.DoesNotContain(logs.Entries, entry => entry.EventId.Id is Retired or OnStandby);
    }

    private static ConnectionPool Create(SwitchedForwarder name, LogCollector logs)
        => new(
            new ConnectionPoolOptions { ConnectionString = $"Host=127.0.0.1;Port={name.Port};Username=postgres;Database=postgres", MaxSize = 4, Name = "moved", WatchServer = false },
            logs);

    private static async Task<bool> IsRefusedAsync(ConnectionPool pool)
    {
        await using var lease = await pool.RentAsync(Cancellation);
        try
        {
            await lease.DoAsync("INSERT INTO written VALUES (1)");
            return false;
        }
        catch (PostgresException error) when (error.SqlState == PostgresErrorCodes.ReadOnlySqlTransaction)
        {
            return true;
        }
    }
}
