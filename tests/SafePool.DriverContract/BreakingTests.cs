using System.Data;
using System.Net.Sockets;
using Npgsql;
using SafePool.DriverContract.Kit;
using SafePool.TestKit;
using Xunit;

namespace SafePool.DriverContract;

/// <summary>How connections break, and how many with one.</summary>
public sealed class BreakingTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    /// <summary><c>NpgsqlConnectionSource.Retire</c>: the only public way to end one connection. Otherwise each retirement would end all, or none.</summary>
    [Fact]
    public async Task BinaryExport_OfATextCopy_BreaksThisConnectionAndNoOther()
    {
        await using var driver = await RawDriver.StartAsync();
        await using var used = await driver.OpenAsync();
        var one = await driver.OpenAsync();
        await driver.FillAsync(2);

        Assert.Throws<ArgumentException>(() => one.BeginBinaryExport("COPY (SELECT 1) TO STDOUT"));

        Assert.Equal(ConnectionState.Broken, one.FullState);
        await one.CloseAsync();
        await Eventually.True(() => driver.Proxy.OpenConnections == 3, "only the broken one is closed");
        await used.DoAsync("SELECT 1");
        Assert.Equal(2, driver.CountIdle());
    }

    /// <summary>
    /// Decision 11: after a break Npgsql ends the whole pool, so <c>ConnectionReturner</c> starts a new generation. If it kept the others, the pool would throw away what is well.
    /// </summary>
    [Fact]
    public async Task EndedSession_OnceNoticed_EndsEveryIdleConnection()
    {
        await using var driver = await RawDriver.StartAsync();
        var one = await driver.OpenAsync();
        await driver.FillAsync(2);
        await driver.TerminateAsync(one.ProcessID);

        await Assert.ThrowsAnyAsync<NpgsqlException>(() => one.DoAsync("SELECT 1"));

        Assert.Equal(ConnectionState.Broken, one.FullState);
        Assert.Null(driver.TryTake());
        await Eventually.True(() => driver.Proxy.OpenConnections == 0, "all are closed");
    }

    /// <summary>
    /// <c>ConnectionReturner.ReturnBroken</c>: which errors of a query end every connection of the data source. If this list grows, one bad query costs more than the page says.
    /// </summary>
    [Theory]
    [InlineData("53000")]
    [InlineData("53200")]
    [InlineData("53400")]
    [InlineData("57P01")]
    [InlineData("57P02")]
    [InlineData("57P03")]
    [InlineData("58000")]
    [InlineData("58P01")]
    [InlineData("F0000")]
    [InlineData("XX000")]
    [InlineData("XX002")]
    public async Task CriticalSqlState_OfAQuery_BreaksItsConnectionAndEndsTheIdleOnes(string sqlState)
    {
        await using var driver = await RawDriver.StartAsync();
        await using var one = await driver.OpenAsync();
        await driver.FillAsync(1);

        var error = await Assert.ThrowsAsync<PostgresException>(() => one.FailAsync(sqlState));

        Assert.Equal(sqlState, error.SqlState);
        Assert.Equal(ConnectionState.Broken, one.FullState);
        Assert.Null(driver.TryTake());
    }

    /// <summary>The same from the other side: these leave the connection open. Otherwise a lease would be lost to an error of its statement.</summary>
    [Theory]
    [InlineData("0A000")]
    [InlineData("22012")]
    [InlineData("23505")]
    [InlineData("25006")]
    [InlineData("25P02")]
    [InlineData("40001")]
    [InlineData("42501")]
    [InlineData("55000")]
    [InlineData("57014")]
    [InlineData("57P04")]
    [InlineData("57P05")]
    [InlineData("P0001")]
    public async Task OtherSqlState_OfAQuery_LeavesAllConnectionsOpen(string sqlState)
    {
        await using var driver = await RawDriver.StartAsync();
        await using var one = await driver.OpenAsync();
        await driver.FillAsync(1);

        await Assert.ThrowsAsync<PostgresException>(() => one.FailAsync(sqlState));

        await one.DoAsync("SELECT 1");
        Assert.Equal(1, driver.CountIdle());
    }

    /// <summary><c>PoolerErrors</c>: poolers speak in 08P01, which costs one connection and not the data source. Otherwise a pooler's word would retire all.</summary>
    [Fact]
    public async Task ProtocolViolation_OfAQuery_BreaksItsConnectionAndNoOther()
    {
        await using var driver = await RawDriver.StartAsync();
        await using var one = await driver.OpenAsync();
        await driver.FillAsync(1);

        await Assert.ThrowsAsync<PostgresException>(() => one.FailAsync("08P01"));

        Assert.Equal(ConnectionState.Broken, one.FullState);
        Assert.Equal(1, driver.CountIdle());
    }

    /// <summary>
    /// <c>Knock</c> is there for this: a failed open ends what is idle, and what is in use when it is closed. If Npgsql stops that, nobody need knock.
    /// </summary>
    [Fact]
    public async Task FailedOpen_EndsHealthyConnectionsThatAreIdleAndThoseInUseOnceTheyAreClosed()
    {
        await using var driver = await RawDriver.StartAsync();
        var used = await driver.OpenAsync();
        var alsoUsed = await driver.OpenAsync();
        driver.Proxy.RefuseNew = true;
        await Assert.ThrowsAsync<NpgsqlException>(driver.OpenAsync);

        await used.DoAsync("SELECT 1");
        await alsoUsed.DoAsync("SELECT 1");
        Assert.Equal(2, driver.Proxy.OpenConnections);
        await used.CloseAsync();
        await alsoUsed.CloseAsync();

        await Eventually.True(() => driver.Proxy.OpenConnections == 0, "both are closed");
    }

    /// <summary><c>Knock</c> tries the way with an unpooled connection: that one's failure costs nobody else anything. Otherwise knocking would do what it prevents.</summary>
    [Fact]
    public async Task FailedOpen_OfAnUnpooledDataSource_LeavesThePooledOnesAlone()
    {
        await using var driver = await RawDriver.StartAsync();
        await driver.FillAsync(2);
        await using var beside = NpgsqlDataSource.Create(new NpgsqlConnectionStringBuilder(driver.Text) { Pooling = false });
        driver.Proxy.RefuseNew = true;

        await Assert.ThrowsAsync<NpgsqlException>(async () => await beside.OpenConnectionAsync(Cancellation));

        Assert.Equal(2, driver.CountIdle());
    }

    /// <summary><c>SqlStates.IsCuredByWaiting</c> reads what a refused open failed with. Otherwise an outage would be taken for a mistake, and fail every rent at once.</summary>
    [Fact]
    public async Task RefusedOpen_HasTheSocketsErrorInside()
    {
        await using var driver = await RawDriver.StartAsync();
        driver.Proxy.RefuseNew = true;

        var error = await Assert.ThrowsAsync<NpgsqlException>(driver.OpenAsync);

        Assert.IsType<SocketException>(error.InnerException);
        Assert.True(error.IsTransient);
    }

    /// <summary><c>SqlStates.IsCuredByWaiting</c>: the same of a server that says nothing within <c>Timeout</c>, which is in whole seconds and bounds an open by itself.</summary>
    [Fact]
    public async Task SilentOpen_HasATimeoutInside()
    {
        await using var driver = await RawDriver.StartAsync(text => text.Timeout = 1);
        driver.Proxy.SilenceNew = true;

        var error = await Assert.ThrowsAsync<NpgsqlException>(driver.OpenAsync);

        Assert.IsType<TimeoutException>(error.InnerException);
    }

    /// <summary>
    /// <c>ConnectionStringReader.ForDataSource</c> sets <c>Timeout</c> as well, because a token alone does not end an open whose server is silent once it has connected. Otherwise
    /// such an open would hold its place, and its socket, for Npgsql's 15 s.
    /// </summary>
    [Fact]
    public async Task SilentOpen_TokenCancelled_EndsByTheTimeoutAtTheLatestAndLeavesNoSocket()
    {
        await using var driver = await RawDriver.StartAsync(text => text.Timeout = 1);
        driver.Proxy.SilenceNew = true;
        using var cancellation = new CancellationTokenSource();
        var opening = driver.DataSource.OpenConnectionAsync(cancellation.Token).AsTask();
        await Eventually.True(() => driver.Proxy.OpenConnections == 1, "it connects");

        await cancellation.CancelAsync();

        var error = await Assert.ThrowsAnyAsync<Exception>(() => opening.WaitAsync(TimeSpan.FromSeconds(5), Cancellation));
        Assert.True(error is OperationCanceledException or NpgsqlException { InnerException: TimeoutException }, error.ToString());
        await Eventually.True(() => driver.Proxy.OpenConnections == 0, "its socket is closed");
    }

    /// <summary><c>PhysicalOpening.OpenAsync</c>: what is said on a broken connection fails with <see cref="InvalidOperationException"/>, which it takes for an outage.</summary>
    [Fact]
    public async Task Command_OnABrokenConnection_IsRefusedAsNotOpen()
    {
        await using var driver = await RawDriver.StartAsync();
        await using var one = await driver.OpenAsync();
        await Assert.ThrowsAsync<PostgresException>(() => one.FailAsync("57P01"));

        await Assert.ThrowsAsync<InvalidOperationException>(() => one.DoAsync("SELECT 1"));
    }

    /// <summary><c>ConnectionCloser.CloseReadyAsync</c>: a broken connection is closed by one call, without a word to the server.</summary>
    [Fact]
    public async Task Close_OfABrokenConnection_LeavesItClosedAtOnce()
    {
        await using var driver = await RawDriver.StartAsync();
        var one = await driver.OpenAsync();
        await Assert.ThrowsAsync<PostgresException>(() => one.FailAsync("57P01"));
        driver.Proxy.RefuseNew = true;

        one.Close();

        Assert.Equal(ConnectionState.Closed, one.FullState);
    }

    /// <summary>
    /// <c>ConnectionCloser.CloseBrokenAsync</c>: a connection is called broken before its socket is closed. A close in between raises <c>StateChange</c>, a later one does not; and once it is
    /// done the connection is called broken again. Otherwise a place would be given away with the socket still open, or never.
    /// </summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Close_OfAConnectionThatBreaksInThisMoment_TellsByStateChangeAndByTheStateAfterwards(bool isEarly)
    {
        using var log = new HoldingLog("Closing physical connection");
        await using var driver = await RawDriver.StartAsync(build: builder => builder.UseLoggerFactory(log));
        var one = await driver.OpenAsync();

        // A break that clears the pool closes what is idle there before its own socket.
        await driver.FillAsync(1);
        var failing = Task.Run(() => one.FailAsync("57P01"), Cancellation);
        await log.Reached;
        if (!isEarly)
        {
            log.LetGo();
            await Assert.ThrowsAsync<PostgresException>(() => failing);
        }

        var changes = 0;
        Assert.Equal(ConnectionState.Broken, one.FullState);
        one.StateChange += (_, _) => changes++;
        one.Close();

        Assert.Equal((isEarly ? 1 : 0, ConnectionState.Closed), (changes, one.FullState));
        if (isEarly)
        {
            Assert.Equal(2, driver.Proxy.OpenConnections);
            log.LetGo();
            await Assert.ThrowsAsync<PostgresException>(() => failing);
            Assert.Equal(ConnectionState.Broken, one.FullState);
        }

        await Eventually.True(() => driver.Proxy.OpenConnections == 0, "its socket is closed");
    }

    /// <summary>
    /// <c>DropInConnections</c> and <c>GovernedConnection</c> hear of a break by <c>StateChange</c>: before the command has failed for its caller. Otherwise the place would be lost until a close.
    /// </summary>
    [Fact]
    public async Task StateChange_OnABreak_FiresBeforeTheCommandFails()
    {
        await using var driver = await RawDriver.StartAsync();
        await using var one = await driver.OpenAsync();
        var states = new List<ConnectionState>();
        one.StateChange += (_, _) => states.Add(one.FullState);

        await Assert.ThrowsAsync<PostgresException>(() => one.FailAsync("57P01"));

        Assert.Contains(ConnectionState.Broken, states);
    }

    /// <summary>
    /// <c>NpgsqlConnectionSource.AskAsync</c> gives a question up by its token: a connection that has gone silent then breaks alone, also while the answers to a reset that rides along are missing. Otherwise one that a
    /// firewall has dropped would end all.
    /// </summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Silence_CommandCancelledByItsToken_BreaksThisConnectionAndNoOther(bool hasRested)
    {
        await using var driver = await RawDriver.StartAsync();
        await using var one = await OpenSilentAsync(driver, hasRested);
        await using var command = new NpgsqlCommand(";", one) { CommandTimeout = 3 };
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(1));

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => command.ExecuteNonQueryAsync(patience.Token).WaitAsync(TimeSpan.FromSeconds(15), Cancellation));

        Assert.Equal(ConnectionState.Broken, one.FullState);
        Assert.Equal(2, driver.CountIdle());
    }

    /// <summary>The same by its timeout ends all that is idle. If that stops, nobody need cancel by a token.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Silence_CommandThatTimesOut_EndsEveryIdleConnection(bool hasRested)
    {
        await using var driver = await RawDriver.StartAsync();
        await using var one = await OpenSilentAsync(driver, hasRested);
        await using var command = new NpgsqlCommand(";", one) { CommandTimeout = 1 };

        await Assert.ThrowsAsync<NpgsqlException>(() => command.ExecuteNonQueryAsync(Cancellation));

        Assert.Equal(ConnectionState.Broken, one.FullState);
        Assert.Null(driver.TryTake());
    }

    private static async Task<NpgsqlConnection> OpenSilentAsync(RawDriver driver, bool hasRested)
    {
        var one = await driver.OpenAsync();
        var session = one.ProcessID;
        if (hasRested)
        {
            await one.CloseAsync();
            one = driver.TryTake()!;
        }

        await driver.FillAsync(2);
        Assert.Equal(session, one.ProcessID);
        Assert.True(driver.Proxy.Swallow(await driver.AskOutsideAsync<int>($"SELECT client_port FROM pg_stat_activity WHERE pid = {session}")));
        return one;
    }
}
