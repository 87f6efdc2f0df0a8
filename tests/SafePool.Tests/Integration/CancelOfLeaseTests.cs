using Npgsql;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Integration;

public sealed class CancelOfLeaseTests
{
    private const string Endless = "SELECT generate_series(1, 100000000)";

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    [Trait("Conformance", "47")]
    public async Task Cancel_BeforeAReaderIsDisposed_MakesItsDisposeShort(bool madeByLease)
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1);
        await using var lease = await server.Pool.RentAsync(Cancellation);
        var session = lease.Session();
        await using var command = madeByLease ? lease.CreateCommand(Endless) : new NpgsqlCommand(Endless, lease.Connection);
        var reader = await command.ExecuteReaderAsync(Cancellation);
        Assert.True(await reader.ReadAsync(Cancellation));

        lease.Cancel();

        await DisposeAsync(reader).WaitAsync(TimeSpan.FromSeconds(8), TimeProvider.System, Cancellation);
        Assert.Equal("idle", await server.ActivityAsync(session));
        Assert.Equal(7, await lease.AskAsync<int>("SELECT 7"));
    }

    [Fact]
    public async Task Cancel_CommandNotMadeByTheLeaseAfterOneThatWas_CancelsWhatRuns()
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1);
        await using var lease = await server.Pool.RentAsync(Cancellation);
        var session = lease.Session();
        Assert.Equal(1, await lease.AskAsync<int>("SELECT 1"));
        var running = lease.Connection.AskAsync<string>("SELECT pg_sleep(3)::text");
        await Eventually.True(async () => await server.ActivityAsync(session) == "active", "the command runs");

        lease.Cancel();

        await Assert.ThrowsAsync<OperationCanceledException>(() => running);
    }

    [Fact]
    public async Task Cancel_RunningBatch_EndsIt()
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1);
        await using var lease = await server.Pool.RentAsync(Cancellation);
        var session = lease.Session();
        await using var batch = lease.CreateBatch();
        batch.BatchCommands.Add(new NpgsqlBatchCommand("SELECT pg_sleep(60)"));
        var running = batch.ExecuteNonQueryAsync(Cancellation);
        await Eventually.True(async () => await server.ActivityAsync(session) == "active", "the batch runs");

        lease.Cancel();

        var error = await Assert.ThrowsAnyAsync<Exception>(() => running);
        Assert.Equal(PostgresErrorCodes.QueryCanceled, ((PostgresException)error.GetBaseException()).SqlState);
        Assert.Equal(7, await lease.AskAsync<int>("SELECT 7"));
    }

    [Fact]
    public async Task Cancel_NothingRuns_DoesNothing()
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1);
        await using var lease = await server.Pool.RentAsync(Cancellation);

        lease.Cancel();
        Assert.Equal(1, await lease.AskAsync<int>("SELECT 1"));
        lease.Cancel();
        Assert.Equal(2, await lease.AskAsync<int>("SELECT 2"));
    }

    private static async Task DisposeAsync(NpgsqlDataReader reader)
    {
        try
        {
            await reader.DisposeAsync();
        }
        catch (PostgresException cancelled) when (cancelled.SqlState == PostgresErrorCodes.QueryCanceled)
        {
            // The rest of the result was this error.
        }
    }
}
