using Npgsql;
using SafePool.Driver;
using SafePool.DriverContract.Kit;
using Xunit;

namespace SafePool.DriverContract;

/// <summary>What a session begins with, and what Npgsql knows of it.</summary>
public sealed class SessionTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    /// <summary><c>SessionTimeoutOptions</c>: timeouts are start-up options, which no reset undoes. Otherwise they would be gone after the first lease.</summary>
    [Fact]
    public async Task StartUpOptions_AfterTheReset_AreInForce()
    {
        await using var driver = await RawDriver.StartAsync(text => text.Options = "-c statement_timeout=4321");
        var connection = await driver.OpenAsync();
        await connection.DoAsync("SET statement_timeout = 1234");
        await connection.CloseAsync();

        await using var next = driver.TryTake()!;

        Assert.Equal("4321ms", await next.AskAsync<string>("SHOW statement_timeout"));
    }

    /// <summary><c>PhysicalOpening</c>: a session is direct when both agree. Otherwise every path would be taken for a pooler's, or a stranger's backend be cancelled.</summary>
    [Fact]
    public async Task ProcessId_WithoutAPooler_IsTheBackends()
    {
        await using var driver = await RawDriver.StartAsync();
        await using var connection = await driver.OpenAsync();

        Assert.Equal(connection.ProcessID, await connection.AskAsync<int>("SELECT pg_backend_pid()"));
    }

    /// <summary><c>HostName</c>: an open connection tells where it leads, also one of several hosts. Otherwise a session's process id would be looked for on another server.</summary>
    [Fact]
    public async Task HostAndPort_OfAnOpenConnection_AreWhereItLeads()
    {
        await using var driver = await RawDriver.StartAsync(text => (text.Host, text.Port) = ($"127.0.0.1:1,127.0.0.1:{text.Port}", 5432));
        await using var connection = await driver.OpenAsync();

        Assert.Equal(("127.0.0.1", driver.Proxy.Port), (connection.Host, connection.Port));
    }

    /// <summary><c>TransferProgress</c>: each row that is read, and each that is written, is another number; nothing else is. Otherwise whoever reads on over a lost lease would be disturbed.</summary>
    [Fact]
    public async Task Progress_MovesWithEachRowAndOnlyThen()
    {
        await using var driver = await RawDriver.StartAsync();
        await using var connection = await driver.OpenAsync();
        await using (var command = new NpgsqlCommand("SELECT generate_series(1, 3)", connection))
        await using (var reader = await command.ExecuteReaderAsync(Cancellation))
        {
            // It was received with the execution.
            Assert.True(await reader.ReadAsync(Cancellation));
            var before = TransferProgress.Of(connection);
            Assert.NotNull(before);
            for (var row = 1; row < 3; row++)
            {
                Assert.True(await reader.ReadAsync(Cancellation));
                var after = TransferProgress.Of(connection);
                Assert.NotEqual(before, after);
                await Task.Delay(TimeSpan.FromMilliseconds(20), TimeProvider.System, Cancellation);
                Assert.Equal(after, TransferProgress.Of(connection));
                before = after;
            }
        }

        await connection.DoAsync("CREATE TEMPORARY TABLE written (id int)");
        await using var import = await connection.BeginBinaryImportAsync("COPY written FROM STDIN (FORMAT binary)", Cancellation);
        var start = TransferProgress.Of(connection);
        await import.WriteRowAsync(Cancellation, 7);
        Assert.NotEqual(start, TransferProgress.Of(connection));
    }

    /// <summary><c>SessionGreeting</c> asks Npgsql by this whether a hook has left a transaction open. Otherwise every lease would begin in somebody's transaction.</summary>
    [Fact]
    public async Task BeginTransaction_WithinOneBegunBySql_IsRefusedWithoutAWordToTheServer()
    {
        await using var driver = await RawDriver.StartAsync();
        await using var connection = await driver.OpenAsync();
        await connection.DoAsync("BEGIN");

        await Assert.ThrowsAsync<InvalidOperationException>(async () => await connection.BeginTransactionAsync(Cancellation));

        Assert.Equal("BEGIN", await driver.LastQueryAsync(connection.ProcessID));
    }

    /// <summary><c>SessionGreeting</c>: a transaction that is begun and disposed at once costs the server nothing. Otherwise every open with a hook would cost two round trips more.</summary>
    [Fact]
    public async Task BeginTransaction_DisposedUnused_SaysBeginOnlyWithTheNextCommand()
    {
        await using var driver = await RawDriver.StartAsync();
        await using var connection = await driver.OpenAsync();
        await connection.DoAsync("SELECT 'before'");

        var transaction = await connection.BeginTransactionAsync(Cancellation);

        Assert.Equal("SELECT 'before'", await driver.LastQueryAsync(connection.ProcessID));
        await transaction.DisposeAsync();
        await connection.DoAsync("SELECT 1");
    }

    /// <summary><c>Transactions.IsOpen</c>: the isolation level is refused once a transaction is over. Otherwise a rollback would be logged that was none, or none that was.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task IsolationLevel_OfATransactionThatIsOver_IsRefused(bool commits)
    {
        await using var driver = await RawDriver.StartAsync();
        await using var connection = await driver.OpenAsync();
        await using var transaction = await connection.BeginTransactionAsync(Cancellation);
        Assert.Equal(System.Data.IsolationLevel.ReadCommitted, transaction.IsolationLevel);

        await (commits ? transaction.CommitAsync(Cancellation) : transaction.RollbackAsync(Cancellation));

        Assert.Throws<InvalidOperationException>(() => transaction.IsolationLevel);
    }

    /// <summary><c>LeaseTimeouts</c> and <c>ActivityQuery</c>: one text with several statements runs as one. Otherwise a reset of our own would need as many round trips.</summary>
    [Fact]
    public async Task SeveralStatements_InOneText_RunAsOne()
    {
        await using var driver = await RawDriver.StartAsync();
        await using var connection = await driver.OpenAsync();

        await connection.DoAsync("CLOSE ALL; RESET ALL; UNLISTEN *; SELECT pg_advisory_unlock_all(); DISCARD SEQUENCES; DISCARD TEMP");

        Assert.Equal(1, await connection.AskAsync<int>("SELECT 1"));
    }

    /// <summary><c>ServerDataSource</c> and every message: the string that a data source tells has no password. Otherwise a log would.</summary>
    [Fact]
    public async Task ConnectionString_OfTheDataSource_HidesThePassword()
    {
        await using var driver = await RawDriver.StartAsync(text => (text.Password, text.ApplicationName) = ("hunter2", "orders"));

        Assert.DoesNotContain("hunter2", driver.Text, StringComparison.Ordinal);
        Assert.Equal("orders", new NpgsqlConnectionStringBuilder(driver.Text).ApplicationName);
    }
}
