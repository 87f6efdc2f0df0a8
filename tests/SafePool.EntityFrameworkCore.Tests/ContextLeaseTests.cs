using System.Data;
using Microsoft.EntityFrameworkCore;
using Npgsql;
using SafePool.EntityFrameworkCore.Tests.Shop;
using Xunit;

namespace SafePool.EntityFrameworkCore.Tests;

/// <summary>When a context holds a place, and when it has given it back.</summary>
public sealed class ContextLeaseTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Query_Async_GivesThePlaceBackWhenItHasRead()
    {
        await using var shop = await ShopPool.CreateAsync();
        await using var context = shop.Context();

        var products = await context.Products.ToListAsync(Cancellation);

        Assert.Equal(ShopData.Products, products.Count);
        Assert.Equal((0, 1), shop.Places);
        Assert.Equal(1, shop.Snapshot.TotalRents);
    }

    [Fact]
    public async Task Query_Sync_GivesThePlaceBackWhenItHasRead()
    {
        await using var shop = await ShopPool.CreateAsync();
        using var context = shop.Context();

        Assert.Equal(ShopData.Products, context.Products.Count());
        Assert.Equal(ShopData.Orders, context.Orders.Count());

        Assert.Equal((0, 1), shop.Places);
        Assert.Equal((2, 1), (shop.Snapshot.TotalRents, shop.Snapshot.TotalOpened));
    }

    [Fact]
    public async Task Query_ManyOfManyContexts_ReuseOneConnection()
    {
        await using var shop = await ShopPool.CreateAsync();

        for (var i = 0; i < 10; i++)
        {
            await using var context = shop.Context();
            await context.Products.CountAsync(Cancellation);
            await context.Orders.CountAsync(Cancellation);
        }

        Assert.Equal((20, 1), (shop.Snapshot.TotalRents, shop.Snapshot.TotalOpened));
    }

    [Fact]
    public async Task Query_Fails_GivesThePlaceBack()
    {
        await using var shop = await ShopPool.CreateAsync();
        await using var context = shop.Context();

        await Assert.ThrowsAsync<PostgresException>(() => context.Database.SqlQueryRaw<int>("SELECT 1 / 0 AS \"Value\"").ToListAsync(Cancellation));

        Assert.Equal((0, 1), shop.Places);
    }

    [Fact]
    public async Task Stream_BrokenOffEarly_GivesThePlaceBack()
    {
        await using var shop = await ShopPool.CreateAsync();
        await using var context = shop.Context();

        await foreach (var order in context.Orders.OrderBy(order => order.Id).AsAsyncEnumerable().WithCancellation(Cancellation))
        {
            Assert.Equal((1, 0), shop.Places);
            break;
        }

        Assert.Equal((0, 1), shop.Places);
    }

    [Fact]
    public async Task Stream_NextReadIsCancelled_GivesThePlaceBack()
    {
        await using var shop = await ShopPool.CreateAsync();
        await using var context = shop.Context();
        using var cancelling = new CancellationTokenSource();
        var stream = context.Database.SqlQueryRaw<int>("SELECT i AS \"Value\" FROM generate_series(1, 100000000) AS i").AsAsyncEnumerable();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
        {
            await foreach (var value in stream.WithCancellation(cancelling.Token))
            {
                await cancelling.CancelAsync();
            }
        });

        Assert.Equal(0, shop.Snapshot.Leased);
    }

    [Fact]
    public async Task Transaction_HoldsOneLeaseForItsDuration()
    {
        await using var shop = await ShopPool.CreateAsync();
        await using var context = shop.Context();

        await using (var transaction = await context.Database.BeginTransactionAsync(Cancellation))
        {
            context.Add(new Customer { Company = "Rolled back", City = "Oslo" });
            await context.SaveChangesAsync(Cancellation);
            await transaction.CreateSavepointAsync("here", Cancellation);
            await context.Customers.CountAsync(Cancellation);
            await transaction.RollbackToSavepointAsync("here", Cancellation);
            Assert.Equal((1, 0), shop.Places);
            await transaction.RollbackAsync(Cancellation);
        }

        Assert.Equal((0, 1), shop.Places);
        Assert.Equal(1, shop.Snapshot.TotalRents);
        Assert.False(await context.Customers.AnyAsync(customer => customer.Company == "Rolled back", Cancellation));
    }

    [Fact]
    public async Task Transaction_ContextIsDisposedInItsMidst_IsRolledBackAndThePlaceIsBack()
    {
        await using var shop = await ShopPool.CreateAsync();
        await using (var context = shop.Context())
        {
            context.Database.BeginTransaction();
            context.Add(new Customer { Company = "Never committed", City = "Oslo" });
            context.SaveChanges();
        }

        await using var next = shop.Context();
        Assert.Equal((0, 1), shop.Places);
        Assert.False(await next.Customers.AnyAsync(customer => customer.Company == "Never committed", Cancellation));
    }

    [Fact]
    public async Task UseTransaction_OfALeaseThatIsTheUsersOwn_LeavesThatLeaseToHim()
    {
        await using var shop = await ShopPool.CreateAsync();
        await using var lease = await shop.Pool.RentAsync(Cancellation);
        await using var transaction = await lease.BeginTransactionAsync(cancellationToken: Cancellation);
        await using var context = shop.Context();

        context.Database.SetDbConnection(lease.Connection);
        await context.Database.UseTransactionAsync(transaction, Cancellation);
        await context.Products.CountAsync(Cancellation);

        Assert.Equal((1, 0), shop.Places);
        Assert.Equal(1, shop.Snapshot.TotalRents);
        Assert.Equal(ConnectionState.Open, lease.Connection.State);
    }

    [Fact]
    public async Task UseTransaction_OfAnotherContext_SharesItsLease()
    {
        await using var shop = await ShopPool.CreateAsync();
        await using var first = shop.Context();
        await using var transaction = await first.Database.BeginTransactionAsync(Cancellation);
        await using var second = shop.Context();

        second.Database.SetDbConnection(first.Database.GetDbConnection());
        await second.Database.UseTransactionAsync(Microsoft.EntityFrameworkCore.Storage.DbContextTransactionExtensions.GetDbTransaction(transaction), Cancellation);
        await second.Products.CountAsync(Cancellation);

        Assert.Equal(1, shop.Snapshot.TotalRents);
        await transaction.DisposeAsync();
        Assert.Equal((0, 1), shop.Places);
    }

    [Fact]
    public async Task OpenConnection_Explicit_HoldsOneLeaseUntilItIsClosed()
    {
        await using var shop = await ShopPool.CreateAsync();
        await using var context = shop.Context();

        await context.Database.OpenConnectionAsync(Cancellation);
        await context.Products.CountAsync(Cancellation);
        await context.Orders.CountAsync(Cancellation);
        Assert.Equal((1, 0), shop.Places);
        await context.Database.CloseConnectionAsync();

        Assert.Equal((0, 1), shop.Places);
        Assert.Equal(1, shop.Snapshot.TotalRents);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task OpenConnection_ClosedByTheConnectionItself_GivesThePlaceBackAndTheContextWorksOn(bool async)
    {
        await using var shop = await ShopPool.CreateAsync();
        await using var context = shop.Context();
        await context.Database.OpenConnectionAsync(Cancellation);

        if (async)
        {
            await context.Database.GetDbConnection().CloseAsync();
        }
        else
        {
            context.Database.GetDbConnection().Close();
        }

        Assert.Equal((0, 1), shop.Places);
        Assert.Equal(ShopData.Products, await context.Products.CountAsync(Cancellation));
        await context.Database.CloseConnectionAsync();
        Assert.Equal(0, shop.Snapshot.Leased);
    }

    [Fact]
    public async Task SaveChanges_ABatch_IsOneLease()
    {
        await using var shop = await ShopPool.CreateAsync(database: await ShopDatabase.CreateAsync(ShopDatabase.NewName()));
        await using var context = shop.Context(npgsql: npgsql => npgsql.MaxBatchSize(7));

        context.AddRange(Enumerable.Range(0, 50).Select(i => new Customer { Company = $"Batch {i}", City = "Lima" }));
        await context.SaveChangesAsync(Cancellation);

        Assert.Equal((1, 0), (shop.Snapshot.TotalRents, shop.Snapshot.Leased));
        Assert.Equal(50, context.Customers.Count(customer => customer.City == "Lima"));
    }

    [Fact]
    public async Task Query_CompiledAndSplit_GiveThePlaceBack()
    {
        await using var shop = await ShopPool.CreateAsync();
        await using var context = shop.Context();
        var compiled = EF.CompileAsyncQuery((ShopContext of, string city) => of.Customers.Where(customer => customer.City == city).Include(customer => customer.Orders));

        var customers = 0;
        await foreach (var customer in compiled(context, "Bergen"))
        {
            customers += customer.Orders.Count > 0 ? 1 : 0;
        }

        var split = await context.Orders.Include(order => order.Lines).ThenInclude(line => line.Product).AsSplitQuery().ToListAsync(Cancellation);

        Assert.Equal((4, ShopData.Orders), (customers, split.Count));
        Assert.Equal((0, 1), shop.Places);
    }

    [Fact]
    public async Task Open_PoolIsFull_WaitsForThePlaceOfAnotherContext()
    {
        await using var shop = await ShopPool.CreateAsync();
        await using var first = shop.Context();
        await using var second = shop.Context();
        await first.Database.OpenConnectionAsync(Cancellation);

        var waiting = second.Products.CountAsync(Cancellation);
        Assert.Equal(1, shop.Snapshot.Waiting);
        await first.Database.CloseConnectionAsync();

        Assert.Equal(ShopData.Products, await waiting);
    }

    [Fact]
    public async Task Open_CancelledWhileItWaits_ThrowsThatAndTakesNothing()
    {
        await using var shop = await ShopPool.CreateAsync();
        await using var first = shop.Context();
        await using var second = shop.Context();
        await first.Database.OpenConnectionAsync(Cancellation);
        using var cancelling = new CancellationTokenSource();

        var waiting = second.Products.CountAsync(cancelling.Token);
        await cancelling.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waiting);
        await first.Database.CloseConnectionAsync();
        Assert.Equal((0, 1), shop.Places);
        Assert.Equal(ShopData.Products, await second.Products.CountAsync(Cancellation));
    }

    [Fact]
    public async Task Load_OfManyContexts_NeverHasMoreSocketsThanPlaces()
    {
        const int Places = 4;
        await using var proxy = TestKit.TcpProxy.Start(await ShopDatabase.SharedAsync());
        await using var shop = await ShopPool.CreateAsync(
            options => (options.MaxSize, options.AcquireTimeout, options.WatchServer) = (Places, TimeSpan.FromSeconds(60), false),
            database: proxy.ConnectionString(await ShopDatabase.SharedAsync()));

        await Parallel.ForAsync(0, 300, new ParallelOptions { MaxDegreeOfParallelism = 24, CancellationToken = Cancellation }, async (i, cancellation) =>
        {
            await using var context = shop.Context();
            switch (i % 3)
            {
                case 0:
                    await context.Orders.Include(order => order.Lines).ToListAsync(cancellation);
                    break;
                case 1:
                    await using (await context.Database.BeginTransactionAsync(cancellation))
                    {
                        await context.Products.CountAsync(cancellation);
                    }

                    break;
                default:
                    _ = context.Customers.Count();
                    break;
            }
        });

        Assert.InRange(proxy.PeakConnections, 1, Places);
        Assert.Equal((0, Places), (shop.Snapshot.Leased, shop.Snapshot.Idle));
    }
}
