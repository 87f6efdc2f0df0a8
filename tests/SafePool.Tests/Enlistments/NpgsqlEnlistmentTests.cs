using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using Xunit;
using static SafePool.Tests.Enlistments.TransactionalServer;

namespace SafePool.Tests.Enlistments;

/// <summary>What docs/transactions.md says of raw Npgsql, and <c>EnlistedPlaces</c> is there for: a new version that behaves otherwise must fail here first.</summary>
public sealed class NpgsqlEnlistmentTests(TransactionalServer server) : IClassFixture<TransactionalServer>
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Close_WithACopyLeftOpen_CommitsNothingAndDoesNotSaySo(bool isRaw)
    {
        await using var raw = NpgsqlDataSource.Create(server.ConnectionString);
        await using var pool = await server.PoolAsync(options => options.MaxSize = 1);
        var note = NewNote();
        using (var scope = Scope())
        {
            var connection = isRaw ? await raw.OpenConnectionAsync(Cancellation) : await pool.Pool.OpenConnectionAsync(Cancellation);
            await connection.DoAsync(Insert(note));
            await connection.BeginTextImportAsync("COPY notes FROM STDIN", Cancellation);
            await connection.DisposeAsync();
            scope.Complete();
        }

        Assert.Equal(0, await server.CountAsync(note));
        await Outstanding.NoneAsync(pool.Pool);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Close_WithAReaderLeftOpen_LetsTheScopeCommit(bool isRaw)
    {
        await using var raw = NpgsqlDataSource.Create(server.ConnectionString);
        await using var pool = await server.PoolAsync(options => options.MaxSize = 1);
        var note = NewNote();
        using (var scope = Scope())
        {
            var connection = isRaw ? await raw.OpenConnectionAsync(Cancellation) : await pool.Pool.OpenConnectionAsync(Cancellation);
            await connection.DoAsync(Insert(note));
            await using (var command = new NpgsqlCommand("SELECT generate_series(1, 10000)", connection))
            {
                Assert.True(await (await command.ExecuteReaderAsync(Cancellation)).ReadAsync(Cancellation));
            }

            await connection.DisposeAsync();
            scope.Complete();
        }

        Assert.Equal(1, await server.CountAsync(note));
        await Outstanding.NoneAsync(pool.Pool);
    }
}
