using System.Transactions;
using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Enlistments;
using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.Poolers;

/// <summary>Leases within a <see cref="TransactionScope"/> where a real PgBouncer is in between.</summary>
public sealed class EnlistedThroughPoolerTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(PoolMode.Session, true)]
    [InlineData(PoolMode.Session, false)]
    [InlineData(PoolMode.Transaction, true)]
    [InlineData(PoolMode.Transaction, false)]
    public async Task Scope_TwoLeasesOneAfterTheOther_HaveOneFateAndThePoolsTimeouts(PoolMode mode, bool commits)
    {
        await using var gateway = await Gateway.BouncerAsync(mode);
        await using var pool = await gateway.PoolAsync(options => (options.MaxSize, options.StatementTimeout, options.WatchServer) = (2, TimeSpan.FromMilliseconds(1234), false));
        await gateway.Server.DoAsync("CREATE TABLE notes (note int)");
        using (var scope = TransactionalServer.Scope())
        {
            for (var i = 0; i < 2; i++)
            {
                await using var lease = await pool.Pool.RentAsync(Cancellation);
                await lease.DoAsync($"INSERT INTO notes VALUES ({i})");
                Assert.Equal(("1234ms", i + 1), (await lease.AskAsync<string>("SHOW statement_timeout"), await lease.AskAsync<long>("SELECT count(*) FROM notes")));
            }

            if (commits)
            {
                scope.Complete();
            }
        }

        await Outstanding.NoneAsync(pool.Pool);
        Assert.Equal(commits ? 2 : 0, await gateway.Server.AskAsync<long>("SELECT count(*) FROM notes"));
        await using var next = await pool.Pool.RentAsync(Cancellation);
        Assert.Equal(mode == PoolMode.Session ? "1234ms" : "0", await next.AskAsync<string>("SHOW statement_timeout"));
    }

    [Fact]
    public async Task TwoLeasesAtATime_ServerThatPreparesNothing_AreRefusedWithTheServersWords()
    {
        await using var gateway = await Gateway.BouncerAsync(PoolMode.Transaction);
        await using var pool = await gateway.PoolAsync(options => (options.MaxSize, options.WatchServer) = (2, false));

        var error = await Record.ExceptionAsync(async () =>
        {
            using var scope = TransactionalServer.Scope();
            foreach (var lease in await pool.Pool.RentAsync(2, Cancellation))
            {
                await lease.DoAsync("SELECT 1");
                await lease.DisposeAsync();
            }

            scope.Complete();
        });

        Assert.Equal("55000", Assert.IsType<PostgresException>(Assert.IsType<TransactionAbortedException>(error).InnerException).SqlState);
        await Outstanding.NoneAsync(pool.Pool);
    }
}
