using System.Transactions;
using Npgsql;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Integration;

/// <summary>Objects that came from a lease, and are used when it is over, or to get somewhere else.</summary>
public sealed class OutlivedConnectionTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    /// <summary>As Dapper does with what it finds closed. Whichever way the lease came back.</summary>
    [Theory]
    [InlineData("plain", SessionReset.Full)]
    [InlineData("plain", SessionReset.Strict)]
    [InlineData("plain", SessionReset.Rollback)]
    [InlineData("closed by its user", SessionReset.Full)]
    [InlineData("in a transaction", SessionReset.Full)]
    [InlineData("broken", SessionReset.Full)]
    [InlineData("enlisted", SessionReset.Full)]
    public async Task Connection_OpenedAfterTheReturn_IsRefused(string way, SessionReset reset)
    {
        await using var server = await PoolOnServer.CreateAsync(options => (options.MaxSize, options.Reset, options.WatchServer) = (2, reset, false));
        var kept = new List<NpgsqlConnection>();
        for (var i = 0; i < 5; i++)
        {
            using var scope = way == "enlisted" ? new TransactionScope(TransactionScopeAsyncFlowOption.Enabled) : null;
            await using var lease = await server.Pool.RentAsync(Cancellation);
            kept.Add(lease.Connection);
            await lease.DoAsync("SELECT 1");
            switch (way)
            {
                case "closed by its user":
                    await lease.Connection.CloseAsync();
                    break;
                case "in a transaction":
                    _ = await lease.BeginTransactionAsync(cancellationToken: Cancellation);
                    break;
                case "broken":
                    await server.TerminateAsync(lease.Session());
                    await Assert.ThrowsAnyAsync<NpgsqlException>(() => lease.DoAsync("SELECT 1"));
                    break;
            }
        }

        foreach (var connection in kept)
        {
            await Assert.ThrowsAsync<ObjectDisposedException>(() => connection.OpenAsync(Cancellation));
            Assert.ThrowsAny<Exception>(connection.Open);
            await using var command = new NpgsqlCommand("SELECT 1", connection);
            await Assert.ThrowsAnyAsync<InvalidOperationException>(() => command.ExecuteNonQueryAsync(Cancellation));
        }

        Assert.InRange((await server.SessionsAsync()).Length, 0, 2);
        await AssertTotalsAsync(server);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Connection_LedToAnotherDatabase_IsRefusedAndLeavesNoSession(bool byString)
    {
        await using var server = await PoolOnServer.CreateAsync(options => (options.MaxSize, options.WatchServer) = (4, false));
        var leases = await server.Pool.RentAsync(4, Cancellation);
        foreach (var lease in leases)
        {
            var connection = lease.Connection;
            var error = Assert.Throws<InvalidOperationException>(() => LeadElsewhere(connection));
            Assert.Contains("a pool for each database", error.Message, StringComparison.Ordinal);
            Assert.Contains(server.Pool.Name, error.Message, StringComparison.Ordinal);
        }

        await server.SessionsBecomeAsync(4);
        await leases.ReturnAllAsync();
        await server.Pool.FillAsync(4, Cancellation);
        await server.SessionsBecomeAsync(4);
        await AssertTotalsAsync(server);
        await server.Pool.DisposeAsync();
        await server.SessionsBecomeAsync(0);

        void LeadElsewhere(NpgsqlConnection connection)
        {
            if (!byString)
            {
                connection.ChangeDatabase("template1");
                return;
            }

            var text = new NpgsqlConnectionStringBuilder(connection.ConnectionString) { Database = "template1" };
            connection.Close();
            connection.ConnectionString = text.ConnectionString;
            connection.Open();
        }
    }

    [Fact]
    public async Task Connection_ClosedAndOpenedAgainWithinItsLease_Serves()
    {
        await using var server = await PoolOnServer.CreateAsync(options => (options.MaxSize, options.WatchServer) = (2, false));
        for (var i = 0; i < 4; i++)
        {
            await using var lease = await server.Pool.RentAsync(Cancellation);
            await lease.Connection.CloseAsync();
            await lease.Connection.OpenAsync(Cancellation);
            Assert.Equal(1, await lease.AskAsync<int>("SELECT 1"));
        }

        await AssertTotalsAsync(server);
    }

    /// <summary>Its session lies at rest under no lease: others get it, nobody counts it twice.</summary>
    [Fact]
    public async Task Connection_ClosedByItsUser_NoTotalIsBelowZero()
    {
        await using var server = await PoolOnServer.CreateAsync(options => (options.MaxSize, options.WatchServer) = (4, false));
        for (var round = 0; round < 5; round++)
        {
            var leases = await server.Pool.RentAsync(4, Cancellation);
            foreach (var lease in leases)
            {
                await lease.Connection.CloseAsync();
            }

            var more = await server.Pool.TryRentAsync(new RentOptions { AcquireTimeout = TimeSpan.FromMilliseconds(20) }, Cancellation);
            await more.DisposeAsync();
            await leases.ReturnAllAsync();
            Assert.InRange(server.Snapshot.TotalClosed, 0, long.MaxValue);
        }

        await server.Pool.FillAsync(4, Cancellation);
        await AssertTotalsAsync(server);
    }

    /// <summary>Raw Npgsql would write it, committed by itself.</summary>
    [Fact]
    public async Task Lease_WhoseScopeHasTimedOut_SaysNo()
    {
        await using var server = await PoolOnServer.CreateAsync(options => (options.MaxSize, options.WatchServer) = (2, false));
        var table = $"timed_out_{Guid.NewGuid():N}";
        await server.AskAsync<int>($"CREATE TABLE {table} (id int); SELECT 1");
        using (var scope = new TransactionScope(TransactionScopeOption.Required, TimeSpan.FromMilliseconds(300), TransactionScopeAsyncFlowOption.Enabled))
        {
            await using var lease = await server.Pool.RentAsync(Cancellation);
            await lease.DoAsync($"INSERT INTO {table} VALUES (1)");
            var ambient = Transaction.Current!;
            await Eventually.True(() => ambient.TransactionInformation.Status == TransactionStatus.Aborted, "the transaction has timed out");

            var error = await Assert.ThrowsAsync<TransactionAbortedException>(() => lease.DoAsync($"INSERT INTO {table} VALUES (2)"));
            Assert.Contains("rent another one", error.Message, StringComparison.Ordinal);
        }

        Assert.Equal(0L, await server.AskAsync<long>($"SELECT count(*) FROM {table}"));
        await server.AskAsync<int>($"DROP TABLE {table}; SELECT 1");
        await using var next = await server.Pool.RentAsync(Cancellation);
        Assert.Equal(1, await next.AskAsync<int>("SELECT 1"));
    }

    [Fact]
    public async Task Lease_WhoseScopeHasCommitted_SaysNo()
    {
        await using var server = await PoolOnServer.CreateAsync(options => (options.MaxSize, options.WatchServer) = (2, false));
        var scope = new TransactionScope(TransactionScopeAsyncFlowOption.Enabled);
        await using (var lease = await server.Pool.RentAsync(Cancellation))
        {
            await lease.DoAsync("SELECT 1");
            scope.Complete();
            scope.Dispose();

            await Assert.ThrowsAsync<InvalidOperationException>(() => lease.DoAsync("SELECT 1"));
        }

        await using var next = await server.Pool.RentAsync(Cancellation);
        Assert.Equal(1, await next.AskAsync<int>("SELECT 1"));
    }

    /// <summary>Whatever was kept of it while the transaction lasted.</summary>
    [Theory]
    [InlineData("committed", "connection", SessionReset.Full)]
    [InlineData("committed", "command", SessionReset.Full)]
    [InlineData("committed", "command", SessionReset.Strict)]
    [InlineData("committed", "command", SessionReset.Rollback)]
    [InlineData("committed", "batch", SessionReset.Full)]
    [InlineData("committed", "opened again", SessionReset.Full)]
    [InlineData("rolled back", "connection", SessionReset.Full)]
    [InlineData("rolled back", "command", SessionReset.Full)]
    [InlineData("rolled back", "command", SessionReset.Strict)]
    [InlineData("rolled back", "prepared command", SessionReset.Full)]
    [InlineData("rolled back", "opened again", SessionReset.Full)]
    [InlineData("timed out", "connection", SessionReset.Full)]
    [InlineData("timed out", "command", SessionReset.Full)]
    [InlineData("timed out", "prepared command", SessionReset.Rollback)]
    [InlineData("timed out", "batch", SessionReset.Strict)]
    [InlineData("timed out", "opened again", SessionReset.Full)]
    public async Task ObjectOfALease_WhoseTransactionHasEnded_ReachesNoSession(string end, string kept, SessionReset reset)
    {
        await using var server = await PoolOnServer.CreateAsync(options => (options.MaxSize, options.WatchServer, options.Reset) = (2, false, reset));
        var table = $"outlived_{Guid.NewGuid():N}";
        await server.AskAsync<int>($"CREATE TABLE {table} (id int); SELECT 1");
        var timeout = end == "timed out" ? TimeSpan.FromMilliseconds(300) : TimeSpan.FromMinutes(1);
        var scope = new TransactionScope(TransactionScopeOption.Required, timeout, TransactionScopeAsyncFlowOption.Enabled);
        var ambient = Transaction.Current!;
        await using var lease = await server.Pool.RentAsync(Cancellation);
        await lease.DoAsync($"INSERT INTO {table} VALUES (1)");
        var connection = lease.Connection;
        await using var command = new NpgsqlCommand($"INSERT INTO {table} VALUES (2)", connection);
        await using var batch = new NpgsqlBatch(connection) { BatchCommands = { new NpgsqlBatchCommand($"INSERT INTO {table} VALUES (2)") } };
        if (kept == "prepared command")
        {
            await command.PrepareAsync(Cancellation);
        }

        if (end == "timed out")
        {
            await Eventually.True(() => ambient.TransactionInformation.Status == TransactionStatus.Aborted && server.Snapshot.Leased == 0, "the transaction and its lease have ended");
        }
        else
        {
            if (end == "committed")
            {
                scope.Complete();
            }

            scope.Dispose();
        }

        await Assert.ThrowsAnyAsync<InvalidOperationException>(async () =>
        {
            switch (kept)
            {
                case "connection":
                    await connection.AskAsync<int>($"INSERT INTO {table} VALUES (2) RETURNING 1");
                    break;
                case "batch":
                    await batch.ExecuteNonQueryAsync(Cancellation);
                    break;
                case "opened again":
                    await connection.OpenAsync(Cancellation);
                    break;
                default:
                    await command.ExecuteNonQueryAsync(Cancellation);
                    break;
            }
        });
        var refusal = Assert.ThrowsAny<Exception>(() => lease.Connection);
        Assert.Equal(end == "committed" ? typeof(InvalidOperationException) : typeof(TransactionAbortedException), refusal.GetType());
        scope.Dispose();
        Assert.Equal(end == "committed" ? 1L : 0L, await server.AskAsync<long>($"SELECT count(*) FROM {table}"));
        await server.AskAsync<int>($"DROP TABLE {table}; SELECT 1");
        await server.Pool.FillAsync(2, Cancellation);
        await AssertTotalsAsync(server);
    }

    [Fact]
    public async Task Reader_OpenWhenItsTransactionTimesOut_IsEndedWithTheLease()
    {
        await using var server = await PoolOnServer.CreateAsync(options => (options.MaxSize, options.WatchServer) = (1, false));
        using (new TransactionScope(TransactionScopeOption.Required, TimeSpan.FromMilliseconds(300), TransactionScopeAsyncFlowOption.Enabled))
        {
            await using var lease = await server.Pool.RentAsync(Cancellation);
            await using var command = lease.CreateCommand("SELECT generate_series(1, 1000000)");
            var reader = await command.ExecuteReaderAsync(Cancellation);
            Assert.True(await reader.ReadAsync(Cancellation));

            // Npgsql tries for ten seconds to roll back before it gives up.
            await Eventually.True(() => server.Snapshot.Leased == 0, "the lease has ended", TimeSpan.FromSeconds(30));
            await Assert.ThrowsAnyAsync<InvalidOperationException>(() => command.ExecuteScalarAsync(Cancellation));
            Assert.Throws<TransactionAbortedException>(() => lease.Connection);
        }

        await AssertTotalsAsync(server);
    }

    /// <summary>A hook that rents from its own pool, and leases that go back under a lock of the user's: neither waits for the other.</summary>
    [Fact]
    public async Task Return_UnderALockAndWithAHookThatRents_Ends()
    {
        ConnectionPool? own = null;
        var gate = new Lock();
        await using var server = await PoolOnServer.CreateAsync(options =>
        {
            (options.MaxSize, options.WatchServer) = (3, false);
            options.PhysicalConnectionOpened = async (_, cancellationToken) =>
            {
                await using var inner = await own!.TryRentAsync(new RentOptions { AcquireTimeout = TimeSpan.FromMilliseconds(100) }, cancellationToken);
            };
        });
        own = server.Pool;

        await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Task.Run(
            () =>
            {
                lock (gate)
                {
                    using var lease = own.Rent();
                    lease.Do("SELECT 1");
                }
            },
            Cancellation)));

        await Outstanding.NoneAsync(own);
    }

    private static async Task AssertTotalsAsync(PoolOnServer server)
    {
        await Outstanding.NoneAsync(server.Pool);
        var now = server.Snapshot;
        await server.SessionsBecomeAsync((int)(now.TotalOpened - now.TotalClosed));
        Assert.InRange(now.TotalClosed, 0, now.TotalOpened);
    }
}
