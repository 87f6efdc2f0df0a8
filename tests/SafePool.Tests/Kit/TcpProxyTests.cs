using System.Net.Sockets;
using Npgsql;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Kit;

public sealed class TcpProxyTests : IAsyncLifetime
{
    private TestDatabase _database = null!;
    private TcpProxy _proxy = null!;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _database = await TestDatabase.AcquireAsync(Cancellation);
        _proxy = TcpProxy.Start(_database.ConnectionString);
    }

    public async ValueTask DisposeAsync()
    {
        await _proxy.DisposeAsync();
        await _database.DisposeAsync();
    }

    [Fact]
    public async Task Counts_ConnectionsOpenedAndClosed_FollowThem()
    {
        await using (var first = await OpenAsync())
        await using (var second = await OpenAsync())
        {
            Assert.Equal(2, _proxy.OpenConnections);
            Assert.Equal(0, _proxy.Connecting);
        }

        await Eventually.True(() => _proxy.OpenConnections == 0, "both connections are closed");
        Assert.Equal((2, 2, 1), (_proxy.PeakConnections, _proxy.TotalAccepted, _proxy.PeakConnecting));
    }

    [Fact]
    public async Task OpenedAt_ConnectionsOneAfterTheOther_TellsWhenEachBegan()
    {
        var before = TimeProvider.System.GetTimestamp();
        await using var first = await OpenAsync();
        var between = TimeProvider.System.GetTimestamp();
        await using var second = await OpenAsync();

        Assert.Collection(
            _proxy.OpenedAt,
            at => Assert.InRange(at, before, between),
            at => Assert.InRange(at, between, TimeProvider.System.GetTimestamp()));
    }

    [Fact]
    public async Task AcceptDelay_ThreeOpenAtOnce_ShowsInPeakConnecting()
    {
        _proxy.AcceptDelay = TimeSpan.FromMilliseconds(200);

        var opening = Enumerable.Range(0, 3).Select(_ => OpenAsync()).ToArray();
        await Eventually.True(() => _proxy.Connecting == 3, "all three are connecting");
        var connections = await Task.WhenAll(opening);

        Assert.Equal((0, 3), (_proxy.Connecting, _proxy.PeakConnecting));
        await CloseAsync(connections);
    }

    [Fact]
    public async Task ForgetPeaks_OneOfTwoIsStillOpen_BeginsWithThatOne()
    {
        await using var first = await OpenAsync();
        await (await OpenAsync()).DisposeAsync();
        await Eventually.True(() => _proxy.OpenConnections == 1, "the second is closed");

        _proxy.ForgetPeaks();

        Assert.Equal((1, 0), (_proxy.PeakConnections, _proxy.PeakConnecting));
    }

    [Theory]
    [InlineData(SslMode.Disable)]
    [InlineData(SslMode.Prefer)]
    public async Task CancelRequest_OfARunningCommand_IsCountedApart(SslMode encryption)
    {
        var throughProxy = new NpgsqlConnectionStringBuilder(_proxy.ConnectionString(_database.ConnectionString)) { SslMode = encryption, Pooling = false };
        await using var connection = new NpgsqlConnection(throughProxy.ConnectionString);
        await connection.OpenAsync(Cancellation);
        using var impatience = CancellationTokenSource.CreateLinkedTokenSource(Cancellation);

        var answer = await StartSleepingAsync(connection, impatience.Token);
        await impatience.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => answer);
        await Eventually.True(() => _proxy.CancelRequests == 1, "the cancel request is counted");
        Assert.Equal((1, 1), (_proxy.TotalAccepted, _proxy.OpenConnections));
        Assert.Single(_proxy.OpenedAt);
    }

    [Fact]
    public async Task Delay_EachWay_ShowsTwiceInARoundTrip()
    {
        await using var connection = await OpenAsync();
        _proxy.Delay = TimeSpan.FromMilliseconds(60);

        var started = TimeProvider.System.GetTimestamp();
        await ExecuteAsync(connection, "select 1", Cancellation);

        // At least: nothing bounds how late a busy machine is. A little less than twice, for timers that are a tick early.
        Assert.True(TimeProvider.System.GetElapsedTime(started) > TimeSpan.FromMilliseconds(100));
    }

    [Fact]
    public async Task Stall_ThenResume_HoldsTheAnswerBackUntilThen()
    {
        await using var connection = await OpenAsync();

        _proxy.Stall();
        var answer = ExecuteAsync(connection, "select 1", Cancellation);
        await Assert.ThrowsAsync<TimeoutException>(() => answer.WaitAsync(TimeSpan.FromMilliseconds(100), Cancellation));
        _proxy.Resume();

        await answer;
    }

    [Fact]
    public async Task ResetAll_CommandRunning_FailsWithConnectionReset()
    {
        await using var connection = await OpenAsync();
        var answer = await StartSleepingAsync(connection, Cancellation);

        _proxy.ResetAll();

        var fault = await Assert.ThrowsAsync<NpgsqlException>(() => answer);
        var cause = Assert.IsType<SocketException>(fault.InnerException?.InnerException);
        Assert.Equal(SocketError.ConnectionReset, cause.SocketErrorCode);
        Assert.Equal(0, _proxy.OpenConnections);
    }

    [Fact]
    public async Task CloseAll_CommandRunning_FailsWithEndOfStream()
    {
        await using var connection = await OpenAsync();
        var answer = await StartSleepingAsync(connection, Cancellation);

        _proxy.CloseAll();

        var fault = await Assert.ThrowsAsync<NpgsqlException>(() => answer);
        Assert.IsType<EndOfStreamException>(fault.InnerException);
        Assert.Equal(0, _proxy.OpenConnections);
    }

    [Fact]
    public async Task RefuseNew_SwitchedOnAndOff_RefusesAndAdmitsAgain()
    {
        await using var existing = await OpenAsync();

        _proxy.RefuseNew = true;
        var fault = await Assert.ThrowsAsync<NpgsqlException>(OpenAsync);
        await ExecuteAsync(existing, "select 1", Cancellation);
        _proxy.RefuseNew = false;

        Assert.Equal(SocketError.ConnectionRefused, Assert.IsType<SocketException>(fault.InnerException).SocketErrorCode);
        await using var admitted = await OpenAsync();
    }

    [Fact]
    public async Task ServerEndsTheSession_ClientIsToldSo()
    {
        await using var connection = await OpenAsync();
        await using var direct = new NpgsqlConnection($"{_database.ConnectionString};Pooling=false");
        await direct.OpenAsync(Cancellation);

        await ExecuteAsync(direct, $"select pg_terminate_backend({connection.ProcessID})", Cancellation);
        await Eventually.True(() => _proxy.OpenConnections == 0, "the end of the session has passed the proxy");

        var fault = await Assert.ThrowsAsync<PostgresException>(() => ExecuteAsync(connection, "select 1", Cancellation));
        Assert.Equal("57P01", fault.SqlState);
    }

    private static async Task ExecuteAsync(NpgsqlConnection connection, string sql, CancellationToken cancellationToken)
    {
        await using var command = new NpgsqlCommand(sql, connection);
        await command.ExecuteNonQueryAsync(cancellationToken);
    }

    private static async Task CloseAsync(NpgsqlConnection[] connections)
    {
        foreach (var connection in connections)
        {
            await connection.DisposeAsync();
        }
    }

    private async Task<NpgsqlConnection> OpenAsync()
    {
        var connection = new NpgsqlConnection($"{_proxy.ConnectionString(_database.ConnectionString)};Pooling=false");
        await connection.OpenAsync(Cancellation);
        return connection;
    }

    /// <returns>The command's end; awaiting this method itself means that the command has reached the server.</returns>
    private async Task<Task> StartSleepingAsync(NpgsqlConnection connection, CancellationToken cancellationToken)
    {
        var answer = ExecuteAsync(connection, "select pg_sleep(30)", cancellationToken);
        await using var direct = new NpgsqlConnection($"{_database.ConnectionString};Pooling=false");
        await direct.OpenAsync(Cancellation);
        await using var watch = new NpgsqlCommand(
            $"select exists (select from pg_stat_activity where pid = {connection.ProcessID} and state = 'active')",
            direct);
        await Eventually.True(async () => (bool)(await watch.ExecuteScalarAsync(Cancellation))!, "the command runs");
        return answer;
    }
}
