using System.Data.Common;
using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.Failover;

public sealed class FailoverTests : IAsyncLifetime
{
    private const string RunsOn = "SELECT current_setting('port')::int";

    private ReplicatedPair _pair = null!;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => _pair = await ReplicatedPair.StartAsync(cancellationToken: Cancellation);

    public ValueTask DisposeAsync() => _pair.DisposeAsync();

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task RentAsync_TargetIsPrimary_GetsThePrimaryWhereverItStandsInTheString(bool primaryIsLast)
    {
        var text = primaryIsLast ? ReplicatedPair.Over(_pair.Standby.Port, _pair.Primary.Port) : _pair.ConnectionString;
        await using var pool = Pool(text, "primary");

        var leases = await pool.RentAsync(5, Cancellation);

        foreach (var lease in leases)
        {
            Assert.Equal(_pair.Primary.Port, await lease.AskAsync<int>(RunsOn));
        }

        await leases.ReturnAllAsync();
        Assert.Equal(5, pool.GetSnapshot().Idle);
    }

    /// <summary>A session with which a host was asked for its role belongs to nobody.</summary>
    [Fact]
    public async Task RentAsync_TargetIsPrimaryBehindAStandby_LeavesNoSessionOnTheStandby()
    {
        await using var pool = Pool(ReplicatedPair.Over(_pair.Standby.Port, _pair.Primary.Port), "primary");

        Assert.Equal(_pair.Primary.Port, await AskAsync(pool));

        Assert.Equal((1, 0), (pool.GetSnapshot().Idle, pool.GetSnapshot().Leased));
        const string Sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'failover'";
        Assert.Equal(1L, await _pair.Primary.QueryAsync(Sessions, Cancellation));
        await Eventually.True(async () => await _pair.Standby.QueryAsync(Sessions, Cancellation) is 0L, "it is gone");
    }

    [Fact]
    public async Task RentAsync_TargetIsStandbyOrPreferStandby_GetsTheStandby()
    {
        await using var standby = Pool(_pair.ConnectionString, "standby");
        await using var preferStandby = Pool(_pair.ConnectionString, "prefer-standby");

        Assert.Equal(_pair.Standby.Port, await AskAsync(standby));
        Assert.Equal(_pair.Standby.Port, await AskAsync(preferStandby));
    }

    [Fact]
    public async Task RentAsync_NoTarget_GetsTheFirstHostThatAnswers()
    {
        await using var pool = Pool(ReplicatedPair.Over(_pair.Standby.Port, _pair.Primary.Port), target: null);

        Assert.Equal(_pair.Standby.Port, await AskAsync(pool));
    }

    [Fact]
    public async Task RentAsync_PreferStandbyAndTheStandbyIsDown_GetsThePrimary()
    {
        await using var pool = Pool(_pair.ConnectionString, "prefer-standby");

        await _pair.Standby.StopAsync();

        Assert.Equal(_pair.Primary.Port, await AskAsync(pool));
    }

    [Fact]
    public async Task RentAsync_TwoPoolsOnOneString_SplitWritesFromReads()
    {
        await using var writes = Pool(_pair.ConnectionString, "primary");
        await using var reads = Pool(_pair.ConnectionString, "prefer-standby");
        await using (var lease = await writes.RentAsync(Cancellation))
        {
            await lease.DoAsync("CREATE TABLE orders AS SELECT 42 AS id");
        }

        await _pair.CatchUpAsync();

        await using var reading = await reads.RentAsync(Cancellation);
        Assert.Equal(_pair.Standby.Port, await reading.AskAsync<int>(RunsOn));
        Assert.Equal(42, await reading.AskAsync<int>("SELECT id FROM orders"));
        var refused = await Assert.ThrowsAsync<PostgresException>(() => reading.DoAsync("INSERT INTO orders VALUES (43)"));
        Assert.Equal(PostgresErrorCodes.ReadOnlySqlTransaction, refused.SqlState);
    }

    [Fact]
    public async Task RentAsync_PrimaryKilledAndStandbyPromoted_ReachesTheNewPrimary()
    {
        await using var pool = Pool(_pair.ConnectionString, "primary");
        await pool.FillAsync(3, Cancellation);

        await _pair.FailOverAsync(Cancellation);

        await Eventually.True(async () => await AskAsync(pool) == _pair.Standby.Port, "rents reach the new primary", TimeSpan.FromSeconds(3));
        var leases = await pool.RentAsync(5, Cancellation);
        foreach (var lease in leases)
        {
            Assert.Equal(_pair.Standby.Port, await lease.AskAsync<int>(RunsOn));
        }

        await leases.ReturnAllAsync();
    }

    [Fact]
    public async Task RentAsync_HostRecheckSecondsIsLong_AConnectionThatBreaksMakesThePoolForgetWhatItKnew()
    {
        // The standby is first, so that the pool has met it, and knows it for a standby.
        await using var pool = Pool($"{ReplicatedPair.Over(_pair.Standby.Port, _pair.Primary.Port)};Host Recheck Seconds=600", "primary");
        Assert.Equal(_pair.Primary.Port, await AskAsync(pool));

        await _pair.FailOverAsync(Cancellation);

        // The first may take what was at rest, and learn that it is dead.
        await Record.ExceptionAsync(() => AskAsync(pool));
        Assert.Equal(_pair.Standby.Port, await AskAsync(pool));
    }

    private static ConnectionPool Pool(string text, string? target)
    {
        var builder = new NpgsqlConnectionStringBuilder(text) { ApplicationName = "failover" };
        if (target is not null)
        {
            builder.TargetSessionAttributes = target;
        }

        // On a busy machine a promotion takes as long as it takes.
        return ConnectionPool.Create(
            builder.ConnectionString,
            options => (options.MaxSize, options.AcquireTimeout, options.Breaker.TripAfter) = (5, TimeSpan.FromMinutes(1), TimeSpan.FromMinutes(1)));
    }

    private static async Task<int> AskAsync(ConnectionPool pool)
    {
        await using var lease = await pool.RentAsync(Cancellation);
        return await lease.AskAsync<int>(RunsOn);
    }
}
