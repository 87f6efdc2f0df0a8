using Npgsql;
using SafePool.Lifecycle.Failures;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using SafePool.Tests.Outages;
using Xunit;

namespace SafePool.Tests.Failures;

/// <summary>The log of a broken connection names the SQLSTATE with which it broke.</summary>
public sealed class BrokenSessionNameTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("XX000")]
    [InlineData("53400")]
    [InlineData("58P01")]
    public async Task Lease_BrokeByAnErrorOfTheServer_TheLogNamesItsState(string sqlState)
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.WatchServer = false);

        await using (var lease = await server.Pool.RentAsync(Cancellation))
        {
            await Assert.ThrowsAsync<PostgresException>(() => lease.DoAsync($"DO $$ BEGIN RAISE EXCEPTION 'on purpose' USING ERRCODE = '{sqlState}'; END $$"));
        }

        Assert.Contains(sqlState, (await BrokenAsync(server)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Lease_WasEndedByAnAdministrator_TheLogNamesTheState()
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.WatchServer = false);

        await using (var lease = await server.Pool.RentAsync(Cancellation))
        {
            await server.TerminateAsync(lease.Session());
            await Assert.ThrowsAsync<PostgresException>(() => lease.DoAsync("SELECT 1"));
        }

        Assert.Contains("57P01 (FATAL", (await BrokenAsync(server)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Lease_WasIdleInATransactionForTooLong_TheLogNamesTheState()
    {
        await using var server = await PoolOnServer.CreateAsync(options =>
        {
            options.WatchServer = false;
            options.IdleInTransactionTimeout = TimeSpan.FromMilliseconds(100);
        });

        await using (var lease = await server.Pool.RentAsync(Cancellation))
        {
            var session = lease.Session();
            await lease.DoAsync("BEGIN");
            await Eventually.True(async () => await server.ActivityAsync(session) == "gone", "the server has ended it");
            await Assert.ThrowsAsync<PostgresException>(() => lease.DoAsync("SELECT 1"));
        }

        Assert.Contains("25P03", (await BrokenAsync(server)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Describe_AnErrorWithoutAWordOfTheServer_SaysSo()
        => Assert.Equal(
            "No error of the server was seen with it: it was cut off, or did not answer.",
            FatalErrors.Describe(new NpgsqlException("Exception while reading from stream", new EndOfStreamException())));

    private static Task<LogEntry> BrokenAsync(PoolOnServer server) => server.Logs.WaitForAsync(entry => entry.EventId.Id == OutageKit.Broken);
}
