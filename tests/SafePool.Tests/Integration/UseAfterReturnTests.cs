using Npgsql;
using Xunit;

namespace SafePool.Tests.Integration;

public sealed class UseAfterReturnTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    [Trait("Conformance", "35")]
    public async Task EveryMember_OfAReturnedLeaseWhileTheNextIsOut_ThrowsAndLeavesTheNextAlone()
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1);
        var old = await server.Pool.RentAsync(Cancellation);
        await old.DisposeAsync();
        await using var next = await server.Pool.RentAsync(Cancellation);
        var sleep = next.DoAsync("SELECT pg_sleep(0.3)");

        Assert.Throws<ObjectDisposedException>(() => old.Connection);
        Assert.Throws<ObjectDisposedException>(() => old.CreateCommand("SELECT 1"));
        Assert.Throws<ObjectDisposedException>(() => old.CreateBatch());
        Assert.Throws<ObjectDisposedException>(() => old.BeginTransaction());
        await Assert.ThrowsAsync<ObjectDisposedException>(async () => await old.BeginTransactionAsync(cancellationToken: Cancellation));
        old.Cancel();
        old.Dispose();

        await sleep;
        Assert.NotEqual(old, next);
        Assert.NotEqual(old.Id, next.Id);
        Assert.Equal(1, server.Snapshot.Leased);
    }

    [Fact]
    [Trait("Conformance", "35")]
    public async Task AConnectionKept_AfterItsLeaseCameBack_CannotReachTheNextHoldersSession()
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1);
        NpgsqlConnection kept;
        await using (var old = await server.Pool.RentAsync(Cancellation))
        {
            kept = old.Connection;
        }

        await using var next = await server.Pool.RentAsync(Cancellation);
        await next.DoAsync("SET application_name = 'untouched'");

        await Assert.ThrowsAnyAsync<InvalidOperationException>(() => kept.AskAsync<int>("SELECT 1"));
        Assert.ThrowsAny<InvalidOperationException>(() => kept.BeginTransaction());
        Assert.ThrowsAny<InvalidOperationException>(() => kept.BeginTextExport("COPY (SELECT 1) TO STDOUT"));
        Assert.NotSame(kept, next.Connection);
        await kept.CloseAsync();
        await kept.DisposeAsync();

        Assert.Equal("untouched", await next.AskAsync<string>("SHOW application_name"));
    }

    [Fact]
    [Trait("Conformance", "36")]
    public async Task ACommandAndABatch_OfAReturnedLease_AreDead()
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1);
        var old = await server.Pool.RentAsync(Cancellation);
        await using var command = old.CreateCommand("SELECT 1");
        await using var batch = old.CreateBatch();
        batch.BatchCommands.Add(new NpgsqlBatchCommand("SELECT 1"));
        await command.PrepareAsync(Cancellation);
        Assert.Equal(1, await command.ExecuteScalarAsync(Cancellation));
        await old.DisposeAsync();
        await using var next = await server.Pool.RentAsync(Cancellation);

        await Assert.ThrowsAsync<InvalidOperationException>(() => command.ExecuteScalarAsync(Cancellation));
        await Assert.ThrowsAsync<InvalidOperationException>(() => batch.ExecuteNonQueryAsync(Cancellation));
        Assert.Throws<InvalidOperationException>(() => command.ExecuteNonQuery());

        Assert.Equal(2, await next.AskAsync<int>("SELECT 2"));
    }

    [Fact]
    [Trait("Conformance", "36")]
    public async Task AReader_OfAReturnedLease_IsDeadAndReadsNothingOfTheNext()
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1);
        var old = await server.Pool.RentAsync(Cancellation);
        var command = old.CreateCommand("SELECT 'old' FROM generate_series(1, 3)");
        var reader = await command.ExecuteReaderAsync(Cancellation);
        Assert.True(await reader.ReadAsync(Cancellation));
        await old.DisposeAsync();
        await using var next = await server.Pool.RentAsync(Cancellation);
        await using var nextCommand = next.CreateCommand("SELECT 'next' FROM generate_series(1, 3)");
        await using var nextReader = await nextCommand.ExecuteReaderAsync(Cancellation);

        await Assert.ThrowsAnyAsync<InvalidOperationException>(() => reader.ReadAsync(Cancellation));
        Assert.ThrowsAny<InvalidOperationException>(() => reader.GetString(0));

        var rows = new List<string>();
        while (await nextReader.ReadAsync(Cancellation))
        {
            rows.Add(nextReader.GetString(0));
        }

        Assert.Equal(["next", "next", "next"], rows);
    }
}
