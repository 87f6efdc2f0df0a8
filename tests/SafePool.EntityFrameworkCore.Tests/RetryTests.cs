using System.Data.Common;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Diagnostics;
using Npgsql;
using SafePool.EntityFrameworkCore.Tests.Shop;
using SafePool.TestKit;
using Xunit;

namespace SafePool.EntityFrameworkCore.Tests;

/// <summary>What <c>EnableRetryOnFailure</c> repeats: what Npgsql calls transient, and nothing that the pool says.</summary>
public sealed class RetryTests
{
    private const int Retries = 3;

    private readonly Attempts _attempts = new();

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Rent_PoolIsExhausted_IsTriedOnce(bool async)
    {
        await using var shop = await ShopPool.CreateAsync(options => options.AcquireTimeout = TimeSpan.FromMilliseconds(20));
        await shop.FillAsync();
        await using var holder = shop.Context();
        await holder.Database.OpenConnectionAsync(Cancellation);
        await using var context = Retrying(shop);
        var before = shop.Snapshot.TotalTimeouts;

        await Assert.ThrowsAsync<PoolExhaustedException>(async () => _ = async ? await context.Products.CountAsync(Cancellation) : context.Products.Count());

        Assert.Equal((1, 1), (_attempts.Opens, shop.Snapshot.TotalTimeouts - before));
    }

    [Fact]
    public async Task Rent_QueueIsFull_IsTriedOnce()
    {
        await using var shop = await ShopPool.CreateAsync(options => options.MaxWaiters = 0);
        await using var holder = shop.Context();
        await holder.Database.OpenConnectionAsync(Cancellation);
        await using var context = Retrying(shop);

        await Assert.ThrowsAsync<PoolRejectedException>(() => context.Products.CountAsync(Cancellation));

        Assert.Equal((1, 1), (_attempts.Opens, shop.Snapshot.TotalRejected));
    }

    [Fact]
    public async Task Rent_PoolIsClosed_IsTriedOnce()
    {
        await using var shop = await ShopPool.CreateAsync();
        await using var context = Retrying(shop);
        await shop.Pool.DisposeAsync();

        await Assert.ThrowsAsync<PoolClosedException>(() => context.Products.CountAsync(Cancellation));

        Assert.Equal(1, _attempts.Opens);
    }

    [Fact]
    public async Task Rent_ServerIsGone_IsTriedOnceAndTheBudgetIsSpentOnce()
    {
        await using var proxy = TcpProxy.Start(await ShopDatabase.SharedAsync());
        proxy.RefuseNew = true;
        await using var shop = await ShopPool.CreateAsync(
            options => (options.AcquireTimeout, options.Breaker.Enabled) = (TimeSpan.FromMilliseconds(200), true),
            database: proxy.ConnectionString(await ShopDatabase.SharedAsync()));
        await using var context = Retrying(shop);

        await Assert.ThrowsAsync<ConnectTimeoutException>(() => context.Products.CountAsync(Cancellation));

        Assert.Equal(1, _attempts.Opens);
    }

    [Fact]
    public async Task Query_FailsTransiently_IsRepeatedAndEachAttemptIsALeaseOfItsOwn()
    {
        await using var shop = await ShopPool.CreateAsync();
        await using var context = Retrying(shop, new FailingCommands(2, () => new NpgsqlException("The connection broke.", new IOException())));

        Assert.Equal(ShopData.Products, await context.Products.CountAsync(Cancellation));

        Assert.Equal((3, 3), (_attempts.Opens, shop.Snapshot.TotalRents));
        Assert.Equal((0, 1), shop.Places);
    }

    [Fact]
    public async Task Query_ConnectionBreaksInIt_IsRepeatedOnAnother()
    {
        await using var proxy = TcpProxy.Start(await ShopDatabase.SharedAsync());
        await using var shop = await ShopPool.CreateAsync(
            options => options.WatchServer = false, database: proxy.ConnectionString(await ShopDatabase.SharedAsync()));
        var breaking = new BeforeCommands(1, proxy.ResetAll);
        await using var context = Retrying(shop, breaking);

        Assert.Equal(ShopData.Products, await context.Products.CountAsync(Cancellation));

        Assert.Equal((2, 2), (_attempts.Opens, shop.Snapshot.TotalRents));
        await Eventually.True(() => shop.Places == (0, 1), "the place of the broken connection is settled");
    }

    [Fact]
    public async Task SaveChanges_ServerIsLostInItsMidst_RollsBackAndGivesThePlaceBack()
    {
        await using var proxy = TcpProxy.Start(await ShopDatabase.SharedAsync());
        await using var shop = await ShopPool.CreateAsync(
            options => options.WatchServer = false, database: proxy.ConnectionString(await ShopDatabase.SharedAsync()));
        var breaking = new BeforeCommands(2, proxy.ResetAll);
        await using var context = shop.Context(options => options.AddInterceptors(breaking), npgsql => npgsql.MaxBatchSize(1));
        context.AddRange(new Customer { Company = "Lost 1", City = "Atlantis" }, new Customer { Company = "Lost 2", City = "Atlantis" });

        var error = await Assert.ThrowsAnyAsync<Exception>(() => context.SaveChangesAsync(Cancellation));

        Assert.Contains(Causes(error), cause => cause is NpgsqlException);
        await Eventually.True(() => shop.Snapshot.Leased == 0, "the place is back");
        Assert.False(await context.Customers.AnyAsync(customer => customer.City == "Atlantis", Cancellation));
        Assert.Equal((0, 1), shop.Places);
    }

    private static IEnumerable<Exception> Causes(Exception error)
    {
        for (var cause = error; cause is not null; cause = cause.InnerException)
        {
            yield return cause;
        }
    }

    private ShopContext Retrying(ShopPool shop, params IInterceptor[] others)
        => shop.Context(options => options.AddInterceptors([_attempts, .. others]), npgsql => npgsql.EnableRetryOnFailure(Retries, TimeSpan.FromMilliseconds(1), null));

    private sealed class Attempts : DbConnectionInterceptor
    {
        public int Opens { get; private set; }

        public override InterceptionResult ConnectionOpening(DbConnection connection, ConnectionEventData eventData, InterceptionResult result)
        {
            Opens++;
            return result;
        }

        public override ValueTask<InterceptionResult> ConnectionOpeningAsync(
            DbConnection connection, ConnectionEventData eventData, InterceptionResult result, CancellationToken cancellationToken = default)
        {
            Opens++;
            return new(result);
        }
    }

    private sealed class FailingCommands(int failures, Func<Exception> error) : DbCommandInterceptor
    {
        private int _left = failures;

        public override ValueTask<InterceptionResult<DbDataReader>> ReaderExecutingAsync(
            DbCommand command, CommandEventData eventData, InterceptionResult<DbDataReader> result, CancellationToken cancellationToken = default)
            => _left-- > 0 ? throw error() : new(result);
    }

    private sealed class BeforeCommands(int nth, Action act) : DbCommandInterceptor
    {
        private int _commands;

        public override ValueTask<InterceptionResult<DbDataReader>> ReaderExecutingAsync(
            DbCommand command, CommandEventData eventData, InterceptionResult<DbDataReader> result, CancellationToken cancellationToken = default)
        {
            if (++_commands == nth)
            {
                act();
            }

            return new(result);
        }
    }
}
