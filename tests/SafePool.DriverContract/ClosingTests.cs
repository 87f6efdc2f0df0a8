using System.Data;
using Npgsql;
using SafePool.DriverContract.Kit;
using SafePool.TestKit;
using Xunit;

namespace SafePool.DriverContract;

/// <summary>What a close does, and what it leaves to the next user.</summary>
public sealed class ClosingTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    /// <summary><c>ConnectionPool.Return</c>, the hot path: a plain close is no round trip. Otherwise every return would wait for the server, also for one that is silent.</summary>
    [Fact]
    public async Task Close_NothingOpen_SaysNothingToTheServer()
    {
        await using var driver = await RawDriver.StartAsync();
        var connection = await driver.OpenAsync();
        await connection.DoAsync("SELECT 'the last word'");
        var session = connection.ProcessID;
        driver.Proxy.Stall();

        Assert.True(connection.CloseAsync().IsCompletedSuccessfully);

        driver.Proxy.Resume();
        Assert.Equal("SELECT 'the last word'", await driver.LastQueryAsync(session));
    }

    /// <summary><c>IdleSweep</c> and <c>SessionReset.Strict</c> are there for this: the reset waits for the next command. If it came at once both would be a round trip for nothing.</summary>
    [Fact]
    public async Task Reset_RidesWithTheNextCommand_NotWithTheCloseNorWithTheOpen()
    {
        await using var driver = await RawDriver.StartAsync();
        var connection = await driver.OpenAsync();
        var session = connection.ProcessID;
        await connection.DoAsync("SELECT pg_advisory_lock(hashtext(gen_random_uuid()::text))");

        await connection.CloseAsync();
        await using var next = driver.TryTake()!;
        var afterTheOpen = await driver.HoldsLockAsync(session);
        await next.DoAsync("SELECT 1");

        Assert.True(afterTheOpen);
        Assert.False(await driver.HoldsLockAsync(session));
    }

    /// <summary><c>IdleSweep</c> flushes with an empty statement. Otherwise locks, temporary tables and LISTEN of a returned lease would stay on the server while it is idle.</summary>
    [Fact]
    public async Task EmptyStatement_OnAFreshConnection_TakesTheResetAlong()
    {
        await using var driver = await RawDriver.StartAsync();
        var connection = await driver.OpenAsync();
        var session = connection.ProcessID;
        await connection.DoAsync("SELECT pg_advisory_lock(hashtext(gen_random_uuid()::text))");
        await connection.CloseAsync();
        await using var next = driver.TryTake()!;

        await next.DoAsync(";");

        Assert.False(await driver.HoldsLockAsync(session));
    }

    /// <summary>
    /// <c>ConnectionCloser.CloseReadyAsync</c> tells by the time a close takes that a transaction was left open, also one begun by SQL. Otherwise that would not be logged, or locks be kept.
    /// </summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Close_TransactionBegunBySql_RollsBackAndTakesARoundTripForIt(bool noReset)
    {
        await using var driver = await RawDriver.StartAsync(text => text.NoResetOnClose = noReset);
        var connection = await driver.OpenAsync();
        var session = connection.ProcessID;
        await connection.DoAsync("BEGIN");
        await connection.DoAsync("SELECT 1");
        driver.Proxy.Delay = TimeSpan.FromMilliseconds(20);

        var closing = connection.CloseAsync();

        Assert.False(closing.IsCompleted);
        await closing;
        Assert.Equal("idle", await driver.StateAsync(session));
    }

    /// <summary><c>SessionReset.Rollback</c> is <c>No Reset On Close</c>: nothing but the transaction is undone. Otherwise the option would cost, or keep, what its page does not say.</summary>
    [Fact]
    public async Task NoResetOnClose_SessionSettings_StayForTheNextUser()
    {
        await using var driver = await RawDriver.StartAsync(text => text.NoResetOnClose = true);
        var connection = await driver.OpenAsync();
        await connection.DoAsync("SET work_mem = '7MB'");
        await connection.CloseAsync();

        await using var next = driver.TryTake()!;

        Assert.Equal("7MB", await next.AskAsync<string>("SHOW work_mem"));
    }

    /// <summary>
    /// <c>ConnectionCloser.CloseForSureAsync</c> closes until the state says so: the 57014 of a cancel may come out of the close. Otherwise a place would be free with its connection open.
    /// </summary>
    [Fact]
    public async Task Close_ReaderCancelledFromOutside_ThrowsAndStaysOpenUntilTheSecondClose()
    {
        await using var driver = await RawDriver.StartAsync();
        var connection = await driver.OpenAsync();
        var command = new NpgsqlCommand(Words.ManyRows, connection);
        await (await command.ExecuteReaderAsync(Cancellation)).ReadAsync(Cancellation);
        await driver.AskOutsideAsync<bool>($"SELECT pg_cancel_backend({connection.ProcessID})");

        var error = await Assert.ThrowsAsync<PostgresException>(connection.CloseAsync);
        var afterTheFirst = connection.FullState;
        await connection.CloseAsync();

        Assert.Equal(PostgresErrorCodes.QueryCanceled, error.SqlState);
        Assert.Equal(ConnectionState.Open, afterTheFirst);
        Assert.Equal(ConnectionState.Closed, connection.FullState);
        Assert.Equal(1, driver.CountIdle());
    }

    /// <summary>
    /// <c>ConnectionCloser.IsBusy</c> and the return cancel what runs before they close: a close would not end it. If it did, the return's own cancel would be one too many.
    /// </summary>
    [Fact]
    public async Task Close_WhileACommandRuns_DoesNotEndTheCommand()
    {
        await using var driver = await RawDriver.StartAsync();
        var connection = await driver.OpenAsync();
        var session = connection.ProcessID;
        var running = connection.DoAsync(Words.Endless);
        await Eventually.True(async () => await driver.StateAsync(session) == "active", "the command runs");

        var closing = Task.Run(connection.CloseAsync, Cancellation);
        await Task.WhenAny(closing, Task.Delay(TimeSpan.FromMilliseconds(200), TimeProvider.System, Cancellation));

        Assert.Equal("active", await driver.StateAsync(session));
        await driver.TerminateAsync(session);
        await Task.WhenAny(Task.WhenAll(running, closing), Task.Delay(TimeSpan.FromSeconds(5), TimeProvider.System, Cancellation));
    }

    /// <summary><c>ConnectionCloser.IsBusy</c>, <c>ActivitySampler</c>: a busy connection is never closed blindly. Otherwise a return would lose connections for good.</summary>
    [Fact]
    public async Task FullState_TellsWhatGoesOn()
    {
        await using var driver = await RawDriver.StartAsync();
        await using var connection = await driver.OpenAsync();
        var idle = connection.FullState;
        var running = connection.DoAsync(Words.Endless);
        var executing = connection.FullState;
        await Eventually.True(async () => await driver.StateAsync(connection.ProcessID) == "active", "the command runs");
        await driver.AskOutsideAsync<bool>($"SELECT pg_cancel_backend({connection.ProcessID})");
        await Assert.ThrowsAsync<PostgresException>(() => running);

        var command = new NpgsqlCommand("SELECT 1", connection);
        await using (var reader = await command.ExecuteReaderAsync(Cancellation))
        {
            await reader.ReadAsync(Cancellation);
            Assert.Equal(ConnectionState.Open | ConnectionState.Fetching, connection.FullState);
        }

        await using (await connection.BeginTextExportAsync("COPY (SELECT generate_series(1, 100000)) TO STDOUT", Cancellation) as IAsyncDisposable)
        {
            Assert.NotEqual(ConnectionState.Open, connection.FullState);
        }

        Assert.Equal(ConnectionState.Open, idle);
        Assert.Equal(ConnectionState.Open | ConnectionState.Executing, executing);
        Assert.Equal(ConnectionState.Open, connection.FullState);
    }

    /// <summary>
    /// <c>GovernedConnection</c> and the drop-in connections: the pool gets its place back in that event. Were the connection not idle yet, the next rent would come back empty.
    /// </summary>
    [Fact]
    public async Task StateChange_OnClose_FiresWhenTheConnectionIsIdleAndDisposeThenForbidsOpen()
    {
        await using var driver = await RawDriver.StartAsync();
        var connection = await driver.OpenAsync();
        var idle = 0;
        connection.StateChange += (_, _) =>
        {
            idle = driver.CountIdle();
            connection.Dispose();
        };

        await connection.CloseAsync();

        Assert.Equal(1, idle);
        await Assert.ThrowsAsync<ObjectDisposedException>(() => connection.OpenAsync(Cancellation));
    }

    /// <summary>
    /// <c>NpgsqlConnectionSource.UnprepareAllAsync</c> under <c>Strict</c>. Otherwise the next tenant would find the statements of the last.
    /// </summary>
    [Fact]
    public async Task UnprepareAll_PreparedStatements_LeaveTheServer()
    {
        await using var driver = await RawDriver.StartAsync();
        await using var connection = await driver.OpenAsync();
        await using (var prepared = new NpgsqlCommand("SELECT 1", connection))
        {
            await prepared.PrepareAsync(Cancellation);
        }

        var before = await connection.AskAsync<long>("SELECT count(*) FROM pg_prepared_statements");
        connection.UnprepareAll();

        Assert.Equal(1, before);
        Assert.Equal(0, await connection.AskAsync<long>("SELECT count(*) FROM pg_prepared_statements"));
    }

    /// <summary>docs/session-reset.md says so of <c>Full</c>, and <c>Strict</c> is there for it. If it changes, that row of the table is wrong.</summary>
    [Fact]
    public async Task Reset_OnceNpgsqlHasPrepared_LetsSqlPrepareSurvive()
    {
        await using var driver = await RawDriver.StartAsync();
        var connection = await driver.OpenAsync();
        await using (var prepared = new NpgsqlCommand("SELECT 1", connection))
        {
            await prepared.PrepareAsync(Cancellation);
            await prepared.ExecuteNonQueryAsync(Cancellation);
        }

        await connection.DoAsync("PREPARE by_sql AS SELECT 2");
        await connection.CloseAsync();

        await using var next = await driver.OpenAsync();

        await next.DoAsync("EXECUTE by_sql");
    }

    /// <summary>A stated limit (docs/limits.md): a disposed reader or transaction that is used again may touch the next holder. If Npgsql ends that, the limit can go.</summary>
    [Fact]
    public async Task DisposedReadersAndTransactions_AreUsedAgain()
    {
        await using var driver = await RawDriver.StartAsync();
        await using var connection = await driver.OpenAsync();

        Assert.Same(await ReadAsync(), await ReadAsync());
        Assert.Same(await BeginAsync(), await BeginAsync());

        async Task<object> ReadAsync()
        {
            var command = new NpgsqlCommand("SELECT 1", connection);
            await using var reader = await command.ExecuteReaderAsync(Cancellation);
            return reader;
        }

        async Task<object> BeginAsync()
        {
            await using var transaction = await connection.BeginTransactionAsync(Cancellation);
            return transaction;
        }
    }
}
