using Npgsql;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Integration;

/// <summary>Leases that come back while something still runs on their connection.</summary>
public sealed class BusyReturnTests
{
    private const string Endless = "SELECT generate_series(1, 100000000)";
    private const int ReturnedBusy = 111;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    [Trait("Conformance", "40")]
    public async Task Return_WhileItsCommandRunsOnAnotherFlow_EndsTheCommandAndKeepsAHealthyConnection(bool blocking)
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1);
        var lease = await server.Pool.RentAsync(Cancellation);
        var session = lease.Session();
        var running = lease.DoAsync("SELECT pg_sleep(60)");
        await Eventually.True(async () => await server.ActivityAsync(session) == "active", "the command runs");

        await ReturnAsync(lease, blocking);

        var error = await Assert.ThrowsAnyAsync<Exception>(() => running.WaitAsync(TimeSpan.FromSeconds(10), TimeProvider.System, Cancellation));
        Assert.IsNotType<TimeoutException>(error);
        await AssertUsableAsync(server);
        Assert.Single(server.Logs.Entries, entry => entry.EventId.Id == ReturnedBusy);
    }

    [Fact]
    [Trait("Conformance", "40")]
    public async Task ReturnAsync_WhileACommandRunsOnAnotherFlow_ManyTimes_NeverHandsTheCancelToTheNext()
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1);

        for (var round = 0; round < 40; round++)
        {
            var lease = await server.Pool.RentAsync(Cancellation);
            var running = lease.DoAsync("SELECT pg_sleep(0.01)");
            await Task.Delay(TimeSpan.FromMilliseconds(round % 15), TimeProvider.System, Cancellation);
            await lease.DisposeAsync();

            await using (var next = await server.Pool.RentAsync(Cancellation))
            {
                Assert.Equal(round, await next.AskAsync<int>($"SELECT {round} FROM pg_sleep(0.003)"));
            }

            await Task.WhenAny(running);
            _ = running.Exception;
        }

        Assert.Equal((0, 1, 0), (server.Snapshot.Leased, server.Snapshot.Idle, server.Snapshot.Quarantined));
    }

    [Theory]
    [InlineData(true, true)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    [InlineData(false, false)]
    [Trait("Conformance", "47")]
    public async Task Return_InTheMidstOfAHugeResult_StopsTheQueryAndFreesThePlace(bool blocking, bool madeByLease)
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1);
        var lease = await server.Pool.RentAsync(Cancellation);
        var session = lease.Session();
        var command = madeByLease ? lease.CreateCommand(Endless) : new NpgsqlCommand(Endless, lease.Connection);
        var reader = await command.ExecuteReaderAsync(Cancellation);
        for (var row = 0; row < 5; row++)
        {
            Assert.True(await reader.ReadAsync(Cancellation));
        }

        var returning = blocking ? Task.Run(lease.Dispose, Cancellation) : lease.DisposeAsync().AsTask();

        // Reading all hundred million rows would take far longer.
        await returning.WaitAsync(TimeSpan.FromSeconds(8), TimeProvider.System, Cancellation);
        await Eventually.True(async () => await server.ActivityAsync(session) is "idle" or "gone", "the server has stopped the query");
        await AssertUsableAsync(server);
    }

    [Fact]
    [Trait("Conformance", "47")]
    public async Task ReturnAsync_InTheMidstOfABatch_StopsTheQueryAndFreesThePlace()
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1);
        var lease = await server.Pool.RentAsync(Cancellation);
        var batch = lease.CreateBatch();
        batch.BatchCommands.Add(new NpgsqlBatchCommand("SELECT 1"));
        batch.BatchCommands.Add(new NpgsqlBatchCommand(Endless));
        var reader = await batch.ExecuteReaderAsync(Cancellation);
        Assert.True(await reader.NextResultAsync(Cancellation));
        Assert.True(await reader.ReadAsync(Cancellation));

        await lease.DisposeAsync().AsTask().WaitAsync(TimeSpan.FromSeconds(8), TimeProvider.System, Cancellation);

        await AssertUsableAsync(server);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    [Trait("Conformance", "47")]
    public async Task Return_InTheMidstOfACopyOut_StopsItAndFreesThePlace(bool blocking)
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1);
        var lease = await server.Pool.RentAsync(Cancellation);
        var session = lease.Session();
        var export = await lease.Connection.BeginTextExportAsync($"COPY ({Endless}) TO STDOUT", Cancellation);
        Assert.Equal("1", await export.ReadLineAsync(Cancellation));

        var returning = blocking ? Task.Run(lease.Dispose, Cancellation) : lease.DisposeAsync().AsTask();

        await returning.WaitAsync(TimeSpan.FromSeconds(8), TimeProvider.System, Cancellation);
        await Eventually.True(async () => await server.ActivityAsync(session) is "idle" or "gone", "the server has stopped the copy");
        await AssertUsableAsync(server);
    }

    [Fact]
    public async Task ReturnAsync_InTheMidstOfACopyIn_CommitsNothingAndFreesThePlace()
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1);
        var lease = await server.Pool.RentAsync(Cancellation);
        var table = $"t_{Guid.NewGuid():N}";
        await lease.DoAsync($"CREATE TABLE {table} (id int)");
        var import = await lease.Connection.BeginTextImportAsync($"COPY {table} FROM STDIN", Cancellation);
        await import.WriteAsync("1\n2\n");

        await lease.DisposeAsync().AsTask().WaitAsync(TimeSpan.FromSeconds(10), TimeProvider.System, Cancellation);

        await Eventually.True(async () => await ServesAsync(server), "the place serves the next");
        await using var next = await server.Pool.RentAsync(Cancellation);
        Assert.Equal(0L, await next.AskAsync<long>($"SELECT count(*) FROM {table}"));
    }

    [Fact]
    public async Task ReturnAsync_WhileItWaitsForNotifications_FreesThePlace()
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1);
        var lease = await server.Pool.RentAsync(Cancellation);
        await lease.DoAsync("LISTEN something");
        using var stop = new CancellationTokenSource();
        var waiting = lease.Connection.WaitAsync(stop.Token);

        await lease.DisposeAsync().AsTask().WaitAsync(TimeSpan.FromSeconds(10), TimeProvider.System, Cancellation);
        await stop.CancelAsync();
        await Task.WhenAny(waiting);
        _ = waiting.Exception;

        await AssertUsableAsync(server);
    }

    /// <summary>Npgsql calls a connection broken before it closes the socket: a place that was given away in between would be one socket too many.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Return_InTheMomentInWhichTheConnectionBreaks_KeepsThePlaceUntilTheSocketIsClosed(bool blocking)
    {
        using var log = new HoldingLog("Closing physical connection");
        await using var server = await PoolOnServer.CreateAsync(options =>
        {
            options.MaxSize = 2;
            options.ConfigureDataSource = builder => builder.UseLoggerFactory(log);
        });

        // A break that clears the driver's pool closes what is idle there before its own socket.
        await server.Pool.FillAsync(2, Cancellation);
        var lease = await server.Pool.RentAsync(Cancellation);
        var session = lease.Session();
        var breaking = Task.Run(() => lease.DoAsync("DO $$ BEGIN RAISE EXCEPTION 'on purpose' USING ERRCODE = '57P01'; END $$"), Cancellation);
        await log.Reached;

        await ReturnAsync(lease, blocking);

        Assert.Equal((0, 1), (server.Snapshot.Leased, server.Snapshot.Quarantined));
        Assert.Contains(session, await server.SessionsAsync());
        log.LetGo();
        await Assert.ThrowsAsync<PostgresException>(() => breaking);
        await Eventually.True(() => server.Snapshot.Quarantined == 0, "the place is back");
        await AssertUsableAsync(server);
        Assert.Equal((3L, 2L), (server.Snapshot.TotalOpened, server.Snapshot.TotalClosed));
    }

    private static async Task AssertUsableAsync(PoolOnServer server)
    {
        await using (var next = await server.Pool.RentAsync(Cancellation))
        {
            Assert.Equal(7, await next.AskAsync<int>("SELECT 7"));
            Assert.Equal(1, server.Snapshot.Leased);
        }

        Assert.Equal((0, 1, 0), (server.Snapshot.Leased, server.Snapshot.Idle, server.Snapshot.Quarantined));
        await server.SessionsBecomeAsync(1);
    }

    private static async Task<bool> ServesAsync(PoolOnServer server)
    {
        await using var lease = await server.Pool.RentAsync(Cancellation);
        return await lease.AskAsync<int>("SELECT 7") == 7;
    }

    private static async Task ReturnAsync(Lease lease, bool blocking)
    {
        if (blocking)
        {
            lease.Dispose();
        }
        else
        {
            await lease.DisposeAsync();
        }
    }
}
