using System.Data;
using Dapper;
using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.AdoNet;

/// <summary>Dapper on a connection of the pool, as its own documentation uses one.</summary>
public sealed class DapperTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Query_BufferedUnbufferedAndMultiple_AllComesBack()
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1);
        await using (var connection = await server.Pool.OpenConnectionAsync(Cancellation))
        {
            await connection.ExecuteAsync("CREATE TEMP TABLE orders (id int, customer text)");
            Assert.Equal(2, await connection.ExecuteAsync("INSERT INTO orders VALUES (@Id, @Customer)", new[] { new Order(1, "a"), new Order(2, "b") }));

            var buffered = await connection.QueryAsync<Order>("SELECT id, customer FROM orders ORDER BY id");
            Assert.Equal([new Order(1, "a"), new Order(2, "b")], buffered);

            var unbuffered = new List<Order>();
            await foreach (var order in connection.QueryUnbufferedAsync<Order>("SELECT id, customer FROM orders ORDER BY id"))
            {
                unbuffered.Add(order);
            }

            Assert.Equal(buffered, unbuffered);

            await using var several = await connection.QueryMultipleAsync("SELECT count(*) FROM orders; SELECT customer FROM orders WHERE id = @id", new { id = 2 });
            Assert.Equal(2, await several.ReadSingleAsync<long>());
            Assert.Equal("b", await several.ReadSingleAsync<string>());
        }

        Assert.Equal((0, 1), (server.Snapshot.Leased, server.Snapshot.Idle));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Query_LeftHalfRead_DoesNotReachTheNext(bool dropIn)
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1);
        await using (var connection = dropIn ? await server.Pool.OpenConnectionAsync(Cancellation) : null)
        await using (var lease = dropIn ? default : await server.Pool.RentAsync(Cancellation))
        {
            await foreach (var number in (connection ?? lease.Connection).QueryUnbufferedAsync<int>("SELECT generate_series(1, 10000)"))
            {
                Assert.Equal(1, number);
                break;
            }
        }

        await Outstanding.NoneAsync(server.Pool);
        await using var next = await server.Pool.RentAsync(Cancellation);
        Assert.Equal(2, await next.Connection.ExecuteScalarAsync<int>("SELECT 2"));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Transaction_OfADropInConnection_IsCommittedOrRolledBackWhenItIsLeftOpen(bool commits)
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1);
        var table = $"t{Guid.NewGuid():N}";
        await using (var connection = await server.Pool.OpenConnectionAsync(Cancellation))
        {
            await connection.ExecuteAsync($"CREATE TABLE {table} (x int)");
        }

        using (var connection = server.Pool.OpenConnection())
        {
            var transaction = connection.BeginTransaction();
            connection.Execute($"INSERT INTO {table} VALUES (@x)", new { x = 1 }, transaction);
            if (commits)
            {
                transaction.Commit();
            }
        }

        await using var next = await server.Pool.OpenConnectionAsync(Cancellation);
        Assert.Equal(commits ? 1 : 0, await next.ExecuteScalarAsync<long>($"SELECT count(*) FROM {table}"));
        await next.ExecuteAsync($"DROP TABLE {table}");
    }

    [Fact]
    public async Task Command_Cancelled_LeavesTheConnectionUsable()
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1);
        await using var connection = await server.Pool.OpenConnectionAsync(Cancellation);
        using var impatience = new CancellationTokenSource();
        var running = connection.ExecuteAsync(new CommandDefinition("SELECT pg_sleep(60)", cancellationToken: impatience.Token));
        await Eventually.True(async () => await server.ActivityAsync(connection.ProcessID) == "active", "it runs");
        await impatience.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => running);

        Assert.Equal(1, await connection.QuerySingleAsync<int>("SELECT 1"));
    }

    /// <summary>Dapper opens what it finds closed: a connection that was returned must not come back to life that way, past the pool.</summary>
    [Fact]
    public async Task Query_OnAConnectionThatWasReturned_IsRefused()
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1);
        var connection = await server.Pool.OpenConnectionAsync(Cancellation);
        await connection.DisposeAsync();
        await connection.DisposeAsync();

        await Assert.ThrowsAsync<ObjectDisposedException>(() => connection.QuerySingleAsync<int>("SELECT 1"));

        Assert.Equal((ConnectionState.Closed, 1), (connection.State, server.Snapshot.Idle));
    }

    private sealed record Order(int Id, string Customer);
}
