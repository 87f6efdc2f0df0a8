using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.Failures;

/// <summary>Max Auto Prepare and an ALTER TABLE: 0A000 "cached plan must not change result type" once for each connection, without the pool's help.</summary>
public sealed class StalePlanTests
{
    private const int Retired = 171;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task AlterTable_PlansArePrepared_OneRequestFailsAndThenNone(bool dropIn)
    {
        await using var server = await PreparedAsync();
        await using var table = await Table.CreateAsync(server);
        await WarmAsync(server, table);

        await table.AlterAsync();
        var failed = 0;
        for (var request = 0; request < 60; request++)
        {
            failed += await FailsAsync(server, table, dropIn) ? 1 : 0;
        }

        Assert.Equal(1, failed);
        Assert.Single(server.Logs.Entries, entry => entry.EventId.Id == Retired && entry.Message.Contains("0A000", StringComparison.Ordinal));
    }

    [Fact]
    public async Task AlterTable_RequestsRunAtOnce_NoMoreFailThanRanAtThatInstant()
    {
        await using var server = await PreparedAsync();
        await using var table = await Table.CreateAsync(server);
        await WarmAsync(server, table);

        await table.AlterAsync();
        var burst = (await Task.WhenAll(Enumerable.Range(0, 10).Select(_ => FailsAsync(server, table)))).Count(failed => failed);
        var later = (await Task.WhenAll(Enumerable.Range(0, 50).Select(_ => FailsAsync(server, table)))).Count(failed => failed);

        Assert.InRange(burst, 1, 10);
        Assert.Equal(0, later);
    }

    /// <summary>Each migration is a new reason; what happened to the generation before says nothing about it.</summary>
    [Fact]
    public async Task AlterTable_AgainLater_CostsOneRequestAgain()
    {
        await using var server = await PreparedAsync();
        await using var table = await Table.CreateAsync(server);
        for (var migration = 1; migration <= 3; migration++)
        {
            await WarmAsync(server, table);
            await table.AlterAsync();
            Assert.True(await FailsAsync(server, table));
            var retired = migration;
            await Eventually.True(() => server.Logs.Entries.Count(entry => entry.EventId.Id == Retired) == retired, "the sessions are retired");
            Assert.False(await FailsAsync(server, table));
            await Outages.OutageKit.PassAsync(TimeSpan.FromSeconds(1.1), Cancellation);
        }
    }

    /// <summary>0A000 is "not supported", of which there are hundreds: only the routine that revalidates plans tells of stale ones.</summary>
    [Fact]
    public async Task Command_IsNotSupported_RetiresNothing()
    {
        await using var server = await PreparedAsync();
        await server.Pool.FillAsync(3, Cancellation);
        var sessions = await server.SessionsAsync();

        await using (var lease = await server.Pool.RentAsync(Cancellation))
        {
            var error = await Assert.ThrowsAsync<PostgresException>(() => lease.DoAsync("SELECT DISTINCT relname FROM pg_class FOR UPDATE"));
            Assert.Equal(PostgresErrorCodes.FeatureNotSupported, error.SqlState);
        }

        await server.Pool.FillAsync(3, Cancellation);
        Assert.Equal(sessions, await server.SessionsAsync());
        Assert.DoesNotContain(server.Logs.Entries, entry => entry.EventId.Id == Retired);
    }

    [Fact]
    public async Task AlterTable_AnotherPoolOfTheSameName_KeepsItsSessions()
    {
        await using var server = await PreparedAsync();
        await using var other = await PreparedAsync();
        await using var table = await Table.CreateAsync(server);
        await WarmAsync(server, table);
        await other.Pool.FillAsync(3, Cancellation);
        var sessions = await other.SessionsAsync();

        await table.AlterAsync();
        Assert.True(await FailsAsync(server, table));

        await server.Logs.WaitForAsync(entry => entry.EventId.Id == Retired);
        Assert.Equal(sessions, await other.SessionsAsync());
    }

    private static Task<PoolOnServer> PreparedAsync()
        => PoolOnServer.CreateAsync(
            options => (options.MaxSize, options.WatchServer, options.Name) = (10, false, "stale plans"),
            text => (text.MaxAutoPrepare, text.AutoPrepareMinUsages) = (20, 2));

    private static async Task WarmAsync(PoolOnServer server, Table table)
    {
        var leases = await server.Pool.RentAsync(10, Cancellation);
        foreach (var lease in leases)
        {
            for (var turn = 0; turn < 3; turn++)
            {
                await lease.DoAsync(table.Query);
            }
        }

        await leases.ReturnAllAsync();
    }

    private static async Task<bool> FailsAsync(PoolOnServer server, Table table, bool dropIn = false)
    {
        try
        {
            if (dropIn)
            {
                await using var connection = await server.Pool.OpenConnectionAsync(Cancellation);
                await connection.DoAsync(table.Query);
            }
            else
            {
                await using var lease = await server.Pool.RentAsync(Cancellation);
                await lease.DoAsync(table.Query);
            }

            return false;
        }
        catch (PostgresException error) when (error.SqlState == PostgresErrorCodes.FeatureNotSupported)
        {
            return true;
        }
    }

    private sealed class Table(Outside outside, string name) : IAsyncDisposable
    {
        private static int _tables;

        private int _columns = 1;

        public string Query => $"SELECT * FROM {name}";

        public static async Task<Table> CreateAsync(PoolOnServer server)
        {
            var outside = await Outside.OfSharedServerAsync();
            var name = $"stale_{Environment.ProcessId}_{Interlocked.Increment(ref _tables)}";
            await outside.DoAsync($"CREATE TABLE {name} (id int)");
            return new Table(outside, name);
        }

        public Task AlterAsync() => outside.DoAsync($"ALTER TABLE {name} ADD COLUMN c{++_columns} int");

        public async ValueTask DisposeAsync() => await outside.DoAsync($"DROP TABLE {name}");
    }
}
