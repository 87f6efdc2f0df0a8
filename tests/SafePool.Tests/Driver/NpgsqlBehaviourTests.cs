using System.Data;
using Npgsql;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Driver;

/// <summary>What SafePool takes for granted of Npgsql (design decisions D1, D3, D4): a new version that behaves otherwise must fail here first.</summary>
public sealed class NpgsqlBehaviourTests : IAsyncLifetime
{
    private static readonly CancellationToken _cancelled = new(canceled: true);

    private TcpProxy _proxy = null!;
    private NpgsqlDataSource _dataSource = null!;

    public async ValueTask InitializeAsync()
    {
        var database = await TestDatabase.AcquireAsync(TestContext.Current.CancellationToken);
        _proxy = TcpProxy.Start(database.ConnectionString);
        _dataSource = NpgsqlDataSource.Create(new NpgsqlConnectionStringBuilder(_proxy.ConnectionString(database.ConnectionString))
        {
            MinPoolSize = 20,
            MaxPoolSize = 20,
        });
    }

    public async ValueTask DisposeAsync()
    {
        await _dataSource.DisposeAsync();
        await _proxy.DisposeAsync();
    }

    [Fact]
    public async Task OpenAsync_TokenCancelledAndNothingAtRest_GivesUpWithoutConnecting()
    {
        var connection = _dataSource.CreateConnection();

        var opening = connection.OpenAsync(_cancelled);

        Assert.True(opening.IsCanceled);
        await using var _ = await _dataSource.OpenConnectionAsync(TestContext.Current.CancellationToken);
        Assert.Equal(1, _proxy.TotalAccepted);
    }

    [Fact]
    public async Task OpenAsync_TokenCancelledAndOneAtRest_TakesItAtOnce()
    {
        var before = await OpenAsync();
        var identity = before.PostgresParameters;
        before.Close();
        var connection = _dataSource.CreateConnection();

        var opening = connection.OpenAsync(_cancelled);

        Assert.True(opening.IsCompletedSuccessfully);
        Assert.Same(identity, connection.PostgresParameters);
    }

    [Fact]
    public async Task PostgresParameters_TwoConnections_AreDistinctObjects()
    {
        var one = await OpenAsync();
        var other = await OpenAsync();

        Assert.NotSame(one.PostgresParameters, other.PostgresParameters);
        Assert.Same(one.PostgresParameters, one.PostgresParameters);
    }

    [Fact]
    public async Task BeginBinaryExport_TextFormatCopy_BreaksThisConnectionAndNoOther()
    {
        var others = new[] { await OpenAsync(), await OpenAsync() };
        var one = await OpenAsync();
        foreach (var other in others)
        {
            other.Close();
        }

        await Assert.ThrowsAsync<ArgumentException>(() => one.BeginBinaryExportAsync("COPY (SELECT 1) TO STDOUT", TestContext.Current.CancellationToken));

        Assert.Equal(ConnectionState.Broken, one.FullState);
        await Eventually.True(() => _proxy.OpenConnections == others.Length, "only the broken one is closed");
        Assert.True(_dataSource.CreateConnection().OpenAsync(_cancelled).IsCompletedSuccessfully);
    }

    [Fact]
    public async Task Terminate_OneBackend_ClearsTheWholeDataSource()
    {
        var atRest = await OpenAsync();
        var one = await OpenAsync();
        atRest.Close();

        await Assert.ThrowsAnyAsync<NpgsqlException>(() => ExecuteAsync(one, "SELECT pg_terminate_backend(pg_backend_pid())"));

        Assert.True(_dataSource.CreateConnection().OpenAsync(_cancelled).IsCanceled);
    }

    [Fact]
    public async Task EmptyStatement_WhileACommandRuns_IsRefusedAndNamesTheCommand()
    {
        var connection = await OpenAsync();
        await using var command = new NpgsqlCommand("SELECT generate_series(1, 100000000)", connection);
        await using var reader = await command.ExecuteReaderAsync(TestContext.Current.CancellationToken);
        await reader.ReadAsync(TestContext.Current.CancellationToken);

        var busy = await Assert.ThrowsAsync<NpgsqlOperationInProgressException>(() => ExecuteAsync(connection, ";"));

        Assert.Same(command, busy.CommandInProgress);
        busy.CommandInProgress!.Cancel();
    }

    [Fact]
    public async Task Close_ReaderCancelledFromOutside_ThrowsAndStaysOpenUntilTheSecondClose()
    {
        var connection = await OpenAsync();
        var control = await OpenAsync();
        var command = new NpgsqlCommand("SELECT generate_series(1, 100000000)", connection);
        await (await command.ExecuteReaderAsync(TestContext.Current.CancellationToken)).ReadAsync(TestContext.Current.CancellationToken);
        await ExecuteAsync(control, $"SELECT pg_cancel_backend({connection.ProcessID})");

        var error = await Assert.ThrowsAsync<PostgresException>(connection.CloseAsync);
        var afterFirst = connection.FullState;
        await connection.CloseAsync();

        Assert.Equal(PostgresErrorCodes.QueryCanceled, error.SqlState);
        Assert.Equal(ConnectionState.Open, afterFirst);
        Assert.Equal(ConnectionState.Closed, connection.FullState);
    }

    [Fact]
    public async Task StateChange_OnClose_FiresWhenTheConnectionIsAtRestAndDisposeThenForbidsOpen()
    {
        var connection = await OpenAsync();
        var wasAtRest = false;
        connection.StateChange += (_, _) =>
        {
            wasAtRest = _dataSource.CreateConnection().OpenAsync(_cancelled).IsCompletedSuccessfully;
            connection.Dispose();
        };

        await connection.CloseAsync();

        Assert.True(wasAtRest);
        await Assert.ThrowsAsync<ObjectDisposedException>(() => connection.OpenAsync(TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task FullReset_OnceNpgsqlHasPrepared_LetsSqlPrepareSurvive()
    {
        var connection = await OpenAsync();
        await using (var prepared = new NpgsqlCommand("SELECT 1", connection))
        {
            await prepared.PrepareAsync(TestContext.Current.CancellationToken);
            await prepared.ExecuteNonQueryAsync(TestContext.Current.CancellationToken);
        }

        await ExecuteAsync(connection, "PREPARE by_sql AS SELECT 2");
        await connection.CloseAsync();

        var next = await OpenAsync();

        await ExecuteAsync(next, "EXECUTE by_sql");
    }

    private async Task<NpgsqlConnection> OpenAsync()
        => await _dataSource.OpenConnectionAsync(TestContext.Current.CancellationToken);

    private static async Task ExecuteAsync(NpgsqlConnection connection, string sql)
    {
        await using var command = new NpgsqlCommand(sql, connection);
        await command.ExecuteNonQueryAsync(TestContext.Current.CancellationToken);
    }
}
