using Npgsql;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Kit;

public sealed class ReplicatedPairTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task StartAsync_BothServers_TheStandbyHasWhatThePrimaryWritesAndTakesNoWrites()
    {
        await using var pair = await ReplicatedPair.StartAsync(cancellationToken: Cancellation);

        await pair.Primary.QueryAsync("CREATE TABLE kept AS SELECT 42 AS answer", Cancellation);
        await pair.CatchUpAsync();

        Assert.Equal(42, await pair.Standby.QueryAsync("SELECT answer FROM kept", Cancellation));
        var refused = await Assert.ThrowsAsync<PostgresException>(() => pair.Standby.QueryAsync("CREATE TABLE refused ()", Cancellation));
        Assert.Equal(PostgresErrorCodes.ReadOnlySqlTransaction, refused.SqlState);
    }

    [Fact]
    public async Task StartAsync_WithSettings_AppliesThemToBoth()
    {
        await using var pair = await ReplicatedPair.StartAsync(options => options.Settings["max_connections"] = "23", Cancellation);

        Assert.Equal("23", await pair.Primary.QueryAsync("SHOW max_connections", Cancellation));
        Assert.Equal("23", await pair.Standby.QueryAsync("SHOW max_connections", Cancellation));
    }

    [Fact]
    public async Task FailOverAsync_TheStandby_HasTheDataAndTakesWrites()
    {
        await using var pair = await ReplicatedPair.StartAsync(cancellationToken: Cancellation);
        await pair.Primary.QueryAsync("CREATE TABLE kept AS SELECT 42 AS answer", Cancellation);
        await pair.CatchUpAsync();

        await pair.FailOverAsync(Cancellation);

        Assert.False(pair.Primary.IsRunning);
        Assert.Equal(false, await pair.Standby.QueryAsync("SELECT pg_is_in_recovery()", Cancellation));
        Assert.Equal(1L, await pair.Standby.QueryAsync("WITH new AS (INSERT INTO kept VALUES (43) RETURNING 1) SELECT count(*) FROM new", Cancellation));
    }

    [Theory]
    [InlineData(StopMode.Fast)]
    [InlineData(StopMode.Immediate)]
    public async Task RestartAsync_OfThePrimary_TheStandbyStreamsOn(StopMode mode)
    {
        await using var pair = await ReplicatedPair.StartAsync(cancellationToken: Cancellation);

        await pair.Primary.RestartAsync(mode, Cancellation);
        await pair.Primary.QueryAsync("CREATE TABLE later ()", Cancellation);
        await pair.CatchUpAsync();

        Assert.Equal(0L, await pair.Standby.QueryAsync("SELECT count(*) FROM later", Cancellation));
    }

    [Fact]
    public async Task PromoteAsync_OfAPrimary_Throws()
    {
        await using var server = await PostgresServer.StartAsync(cancellationToken: Cancellation);

        await Assert.ThrowsAsync<PostgresException>(() => server.PromoteAsync(Cancellation));
    }
}
