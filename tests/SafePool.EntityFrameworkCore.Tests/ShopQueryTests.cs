using Microsoft.EntityFrameworkCore;
using SafePool.EntityFrameworkCore.Tests.Shop;
using Xunit;

namespace SafePool.EntityFrameworkCore.Tests;

/// <summary>Ordinary work of a shop: joins, groups, trees, updates, many at a time, on three connections.</summary>
public sealed class ShopQueryTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Include_OrdersWithAllThatBelongsToThem_AreComplete()
    {
        await using var shop = await ShopPool.CreateAsync();
        await using var context = shop.Context();

        var orders = await context.Orders.AsNoTracking()
            .Include(order => order.Customer)
            .Include(order => order.Employee).ThenInclude(employee => employee!.Manager)
            .Include(order => order.Lines).ThenInclude(line => line.Product).ThenInclude(product => product!.Category)
            .OrderBy(order => order.Id)
            .ToListAsync(Cancellation);

        Assert.Equal(ShopData.Orders, orders.Count);
        Assert.All(orders, order => Assert.NotNull(order.Customer));
        Assert.All(orders.SelectMany(order => order.Lines), line => Assert.NotNull(line.Product!.Category));
        Assert.Contains(orders, order => order.Employee!.Manager?.Name == "Ada");
    }

    [Fact]
    public async Task GroupBy_TurnoverOfCategories_IsTheSameAsInMemory()
    {
        await using var shop = await ShopPool.CreateAsync();
        await using var context = shop.Context();

        var asked = await context.Lines
            .GroupBy(line => line.Product!.Category!.Name)
            .Select(group => new { group.Key, Turnover = group.Sum(line => line.Quantity * line.UnitPrice) })
            .ToDictionaryAsync(group => group.Key, group => group.Turnover, Cancellation);
        var lines = await context.Lines.Include(line => line.Product!.Category).ToListAsync(Cancellation);

        Assert.Equal(
            lines.GroupBy(line => line.Product!.Category!.Name).ToDictionary(group => group.Key, group => group.Sum(line => line.Quantity * line.UnitPrice)),
            asked);
    }

    [Fact]
    public async Task Subqueries_BestCustomersOfEachCity_AreFound()
    {
        await using var shop = await ShopPool.CreateAsync();
        await using var context = shop.Context();

        var best = await context.Customers
            .Where(customer => customer.Orders.Any(order => order.Lines.Any(line => line.Product!.Supplier!.Country == "Norway")))
            .OrderByDescending(customer => customer.Orders.SelectMany(order => order.Lines).Sum(line => line.Quantity))
            .Select(customer => customer.City)
            .Distinct()
            .ToListAsync(Cancellation);

        Assert.Equal(["Bergen", "Porto"], best.Order());
    }

    [Fact]
    public async Task Sales_ManyAtATime_KeepTheStockRight()
    {
        const int Sales = 60;
        await using var shop = await ShopPool.CreateAsync(
            options => (options.MaxSize, options.AcquireTimeout) = (3, TimeSpan.FromSeconds(60)), database: await ShopDatabase.CreateAsync(ShopDatabase.NewName()));

        await Parallel.ForAsync(0, Sales, new ParallelOptions { MaxDegreeOfParallelism = 12, CancellationToken = Cancellation }, async (i, cancellation) =>
        {
            await using var context = shop.Context();
            await using var transaction = await context.Database.BeginTransactionAsync(cancellation);
            var product = await context.Products.OrderBy(product => product.Id).Skip(i % ShopData.Products).FirstAsync(cancellation);
            await context.Products.Where(other => other.Id == product.Id)
                .ExecuteUpdateAsync(set => set.SetProperty(other => other.InStock, other => other.InStock - 1), cancellation);
            var customer = await context.Customers.OrderBy(customer => customer.Id).FirstAsync(cancellation);
            context.Add(new Order
            {
                PlacedOn = new DateOnly(2026, 1, 1),
                CustomerId = customer.Id,
                EmployeeId = await context.Employees.MinAsync(employee => employee.Id, cancellation),
                Lines = [new OrderLine { ProductId = product.Id, Quantity = 1, UnitPrice = product.UnitPrice }],
            });
            await context.SaveChangesAsync(cancellation);
            await transaction.CommitAsync(cancellation);
        });

        await using var after = shop.Context();
        Assert.Equal((100 * ShopData.Products) - Sales, await after.Products.SumAsync(product => product.InStock, Cancellation));
        Assert.Equal(ShopData.Orders + Sales, await after.Orders.CountAsync(Cancellation));
        Assert.Equal(0, shop.Snapshot.Leased);
        Assert.InRange(shop.Snapshot.TotalOpened, 1, 3);
    }
}
