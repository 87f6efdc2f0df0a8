using System.Data;
using Npgsql;
using SafePool.DriverContract.Kit;
using SafePool.TestKit;
using Xunit;

namespace SafePool.DriverContract;

/// <summary>Finding out what runs, ending it, and waiting.</summary>
public sealed class CancellingTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    /// <summary>
    /// <c>NpgsqlConnectionSource.CancelAsync</c>: the refusal names the running command, whoever made it, so the hot path tracks none. Otherwise a return could cancel only its own commands.
    /// </summary>
    [Fact]
    public async Task EmptyStatement_WhileACommandRuns_IsRefusedAndNamesTheCommand()
    {
        await using var driver = await RawDriver.StartAsync();
        await using var connection = await driver.OpenAsync();
        await using var command = new NpgsqlCommand(Words.ManyRows, connection);
        await using var reader = await command.ExecuteReaderAsync(Cancellation);
        await reader.ReadAsync(Cancellation);

        var busy = await Assert.ThrowsAsync<NpgsqlOperationInProgressException>(() => connection.DoAsync(";"));

        Assert.Same(command, busy.CommandInProgress);
        busy.CommandInProgress!.Cancel();
    }

    /// <summary><c>NpgsqlConnectionSource.CancelAsync</c>: during COPY there is no command to ask, so the pool's own connection has to. Otherwise it would call a command that is none.</summary>
    [Fact]
    public async Task EmptyStatement_DuringCopy_IsRefusedAndNamesNone()
    {
        await using var driver = await RawDriver.StartAsync();
        await using var connection = await driver.OpenAsync();
        await connection.DoAsync("CREATE TEMP TABLE t (n int)");
        await using var import = await connection.BeginTextImportAsync("COPY t FROM STDIN", Cancellation);

        var busy = await Assert.ThrowsAsync<NpgsqlOperationInProgressException>(() => connection.DoAsync(";"));

        Assert.Null(busy.CommandInProgress);
    }

    /// <summary>The same while it waits for notifications.</summary>
    [Fact]
    public async Task EmptyStatement_DuringAWait_IsRefusedAndNamesNone()
    {
        await using var driver = await RawDriver.StartAsync();
        await using var connection = await driver.OpenAsync();
        await connection.DoAsync(";");
        using var interruption = new CancellationTokenSource();
        var waiting = connection.WaitAsync(interruption.Token);

        var busy = await Assert.ThrowsAsync<NpgsqlOperationInProgressException>(() => connection.DoAsync(";"));

        Assert.Null(busy.CommandInProgress);
        await interruption.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waiting);
    }

    /// <summary>
    /// <c>NpgsqlConnectionSource.CancelAsync</c> and <c>Lease.Cancel</c>: a cancel needs no connection of the pool, and carries the protocol's key, so it hits nobody else.
    /// </summary>
    [Fact]
    public async Task Cancel_OfARunningCommand_GoesOverASocketOfItsOwn()
    {
        await using var driver = await RawDriver.StartAsync();
        await using var connection = await driver.OpenAsync();
        await using var command = new NpgsqlCommand(Words.Endless, connection);
        var running = command.ExecuteNonQueryAsync(Cancellation);
        await Eventually.True(async () => await driver.StateAsync(connection.ProcessID) == "active", "the command runs");

        command.Cancel();

        var error = await Assert.ThrowsAnyAsync<OperationCanceledException>(() => running);
        Assert.Equal(PostgresErrorCodes.QueryCanceled, Assert.IsType<PostgresException>(error.InnerException).SqlState);
        Assert.Equal((1, 1), (driver.Proxy.CancelRequests, driver.Proxy.TotalAccepted));
        Assert.Equal(ConnectionState.Open, connection.FullState);
    }

    /// <summary><c>NpgsqlConnectionSource.CancelAsync</c>: a command that has ended by then is left alone. Otherwise its cancel could hit the next one.</summary>
    [Fact]
    public async Task Cancel_OfACommandThatHasEnded_SendsNothing()
    {
        await using var driver = await RawDriver.StartAsync();
        await using var connection = await driver.OpenAsync();
        await using var command = new NpgsqlCommand("SELECT 1", connection);
        await command.ExecuteNonQueryAsync(Cancellation);

        command.Cancel();

        await connection.DoAsync("SELECT 1");
        Assert.Equal(0, driver.Proxy.CancelRequests);
    }

    /// <summary>
    /// Decision 3, <c>PhysicalConnection.NeedsFlush</c>: a close swallows the 57014 of a cancel that the connection's own command has sent, so nothing tells whether it has arrived.
    /// </summary>
    [Fact]
    public async Task Close_ReaderCancelledByItsOwnCommand_ThrowsNothing()
    {
        await using var driver = await RawDriver.StartAsync();
        var connection = await driver.OpenAsync();
        var command = new NpgsqlCommand(Words.ManyRows, connection);
        await (await command.ExecuteReaderAsync(Cancellation)).ReadAsync(Cancellation);

        command.Cancel();
        await connection.CloseAsync();

        Assert.Equal(ConnectionState.Closed, connection.FullState);
        Assert.Equal(1, driver.CountIdle());
    }

    /// <summary>
    /// <c>WatchedConnection</c>: a wait can be interrupted without harm, once the reset has been sent. Otherwise whoever talks over it would break it.
    /// </summary>
    [Fact]
    public async Task Wait_CancelledAgainAndAgainOnceTheResetWasSent_DoesNoHarm()
    {
        await using var driver = await RawDriver.StartAsync();
        await driver.FillAsync(1);
        await using var connection = driver.TryTake()!;
        await connection.DoAsync(";");

        for (var i = 0; i < 200; i++)
        {
            using var interruption = new CancellationTokenSource();
            var waiting = connection.WaitAsync(interruption.Token);
            await interruption.CancelAsync();
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waiting);
            Assert.Equal(i, await connection.AskAsync<int>($"SELECT {i}"));
        }
    }

    /// <summary><c>WatchedConnection</c>: who waits hears that the session has ended. Otherwise a dead server would be found by a rent.</summary>
    [Fact]
    public async Task Wait_SessionEnds_ThrowsAtOnceAndTheConnectionIsBroken()
    {
        await using var driver = await RawDriver.StartAsync();
        await using var connection = await driver.OpenAsync();
        var session = connection.ProcessID;
        var waiting = connection.WaitAsync(Cancellation);

        await driver.TerminateAsync(session);

        await Assert.ThrowsAnyAsync<NpgsqlException>(() => waiting.WaitAsync(TimeSpan.FromSeconds(5), Cancellation));
        Assert.Equal(ConnectionState.Broken, connection.FullState);
    }

    /// <summary>
    /// Everything that the pool says for itself has a <c>CommandTimeout</c>: a server that answers the cancel keeps its session. Otherwise a slow answer would cost a connection.
    /// </summary>
    [Fact]
    public async Task CommandTimeout_ServerAnswersTheCancel_KeepsTheConnection()
    {
        await using var driver = await RawDriver.StartAsync();
        await using var connection = await driver.OpenAsync();
        await using var command = new NpgsqlCommand(Words.Endless, connection) { CommandTimeout = 1 };

        var error = await Assert.ThrowsAsync<NpgsqlException>(() => command.ExecuteNonQueryAsync(Cancellation));

        Assert.IsType<TimeoutException>(error.InnerException);
        Assert.Equal(ConnectionState.Open, connection.FullState);
        await connection.DoAsync("SELECT 1");
    }

    /// <summary>The same of a command whose token is cancelled: a user's cancellation costs nobody a connection.</summary>
    [Fact]
    public async Task CommandToken_Cancelled_KeepsTheConnection()
    {
        await using var driver = await RawDriver.StartAsync();
        await using var connection = await driver.OpenAsync();
        await using var command = new NpgsqlCommand(Words.Endless, connection);
        using var cancellation = new CancellationTokenSource();
        var running = command.ExecuteNonQueryAsync(cancellation.Token);
        await Eventually.True(async () => await driver.StateAsync(connection.ProcessID) == "active", "the command runs");

        await cancellation.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => running);
        Assert.Equal(ConnectionState.Open, connection.FullState);
        await connection.DoAsync("SELECT 1");
    }
}
