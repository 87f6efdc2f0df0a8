using System.Transactions;
using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using Xunit;
using static SafePool.Tests.Enlistments.EnlistedLeaseTests;
using static SafePool.Tests.Enlistments.TransactionalServer;

namespace SafePool.Tests.Enlistments;

/// <summary>Several connections within one <see cref="TransactionScope"/>: each is a part of its own, as with raw Npgsql.</summary>
public sealed class DistributedTests(TransactionalServer server) : IClassFixture<TransactionalServer>
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task TwoLeasesAtATime_AreCommittedInTwoPhases(bool commits)
    {
        await using var proxy = TcpProxy.Start(server.ConnectionString);
        await using var pool = await server.PoolAsync(options => (options.MaxSize, options.WatchServer) = (2, false), proxy: proxy);
        var notes = (First: NewNote(), Second: NewNote(), Third: NewNote());
        using (var scope = Scope())
        {
            await using (var first = await pool.Pool.RentAsync(Cancellation))
            await using (var second = await pool.Pool.RentAsync(Cancellation))
            {
                Assert.NotEqual(first.Session(), second.Session());
                await first.DoAsync(Insert(notes.First));
                await second.DoAsync(Insert(notes.Second));
            }

            Assert.Equal(2, pool.Snapshot.Leased);
            await UseAsync(pool.Pool, Way.OpenConnectionAsync, Insert(notes.Third));
            if (commits)
            {
                scope.Complete();
            }
        }

        Assert.Equal(commits ? 3 : 0, await server.CountAsync(notes.First, notes.Second, notes.Third));
        await Outstanding.NoneAsync(pool.Pool);
        Assert.Equal((2, 2), (pool.Snapshot.Idle, proxy.PeakConnections));
        await (await pool.Pool.RentAsync(2, Cancellation)).ReturnAllAsync();
        Assert.Equal(2, proxy.TotalAccepted);
        Assert.Equal(0, await pool.AskAsync<long>("SELECT count(*) FROM pg_prepared_xacts"));
    }

    [Fact]
    public async Task TwoPools_AreOneTransaction()
    {
        await using var one = await server.PoolAsync(options => options.MaxSize = 1);
        await using var other = await server.PoolAsync(options => options.MaxSize = 1);
        var notes = (First: NewNote(), Second: NewNote());

        await Record.ExceptionAsync(async () =>
        {
            using var scope = Scope();
            await UseAsync(one.Pool, Way.RentAsync, Insert(notes.First));
            await UseAsync(other.Pool, Way.RentAsync, Insert(notes.Second));
            await UseAsync(other.Pool, Way.RentAsync, Insert(notes.Second));
            scope.Complete();
        });
        await Outstanding.NoneAsync(one.Pool);
        await Outstanding.NoneAsync(other.Pool);
        Assert.Equal(0, await server.CountAsync(notes.First, notes.Second));

        using (var scope = Scope())
        {
            await UseAsync(one.Pool, Way.RentAsync, Insert(notes.First));
            await UseAsync(other.Pool, Way.RentAsync, Insert(notes.Second));
            scope.Complete();
        }

        await Outstanding.NoneAsync(one.Pool);
        await Outstanding.NoneAsync(other.Pool);
        Assert.Equal(2, await server.CountAsync(notes.First, notes.Second));
        Assert.Equal((1, 1), (one.Snapshot.TotalOpened, other.Snapshot.TotalOpened));
    }

    [Fact]
    public async Task ServerThatPreparesNothing_RefusesAsWithNpgsql()
    {
        // The shared one has max_prepared_transactions = 0.
        await using var pool = await PoolOnServer.CreateAsync(options => options.MaxSize = 2);
        await using var raw = NpgsqlDataSource.Create(await Outside.SharedServerAsync());

        var ours = await FailAsync(() => pool.Pool.OpenConnectionAsync(Cancellation));
        var theirs = await FailAsync(() => raw.OpenConnectionAsync(Cancellation));

        Assert.IsType<TransactionAbortedException>(theirs);
        Assert.Equal("55000", Assert.IsType<PostgresException>(theirs!.InnerException).SqlState);
        Assert.IsType<TransactionAbortedException>(ours);
        Assert.Equal("55000", Assert.IsType<PostgresException>(ours!.InnerException).SqlState);
        await Outstanding.NoneAsync(pool.Pool);
        await UseAsync(pool.Pool, Way.RentAsync, "SELECT 1");

        static ValueTask<Exception?> FailAsync(Func<ValueTask<NpgsqlConnection>> open) => Record.ExceptionAsync(async () =>
        {
            using var scope = Scope();
            await using (var first = await open())
            await using (var second = await open())
            {
                await first.DoAsync("SELECT 1");
                await second.DoAsync("SELECT 1");
            }

            scope.Complete();
        });
    }
}
