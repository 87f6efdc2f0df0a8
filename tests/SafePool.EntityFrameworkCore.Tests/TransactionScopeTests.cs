using System.Transactions;
using Microsoft.EntityFrameworkCore;
using SafePool.EntityFrameworkCore.Tests.Shop;
using SafePool.TestKit;
using Xunit;

namespace SafePool.EntityFrameworkCore.Tests;

/// <summary>Contexts within an ambient transaction: what they wrote is kept or undone with it, and the one place serves them one after the other.</summary>
public sealed class TransactionScopeTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Scope_SeveralOpensAndContexts_AreOneTransactionOnOneConnection(bool completes)
    {
        await using var shop = await ShopPool.CreateAsync(database: await ShopDatabase.CreateAsync(ShopDatabase.NewName()));
        int before;
        await using (var context = shop.Context())
        {
            before = await context.Products.CountAsync(Cancellation);
        }

        using (var scope = new TransactionScope(TransactionScopeAsyncFlowOption.Enabled))
        {
            await using (var context = shop.Context())
            {
                await context.Products.Where(product => product.Id == context.Products.Min(any => any.Id)).ExecuteUpdateAsync(change => change.SetProperty(product => product.Name, "renamed"), Cancellation);
                Assert.Equal(1, await context.Products.CountAsync(product => product.Name == "renamed", Cancellation));
            }

            await using (var another = shop.Context())
            {
                // The place is kept for the transaction, and so for this context too: another caller would wait.
                Assert.Equal(1, await another.Products.CountAsync(product => product.Name == "renamed", Cancellation));
                Assert.False(shop.Pool.GetSnapshot().Idle > 0);
            }

            if (completes)
            {
                scope.Complete();
            }
        }

        await Eventually.True(() => shop.Places == (0, 1), "the place is back");
        await using var after = shop.Context();
        Assert.Equal(completes ? 1 : 0, await after.Products.CountAsync(product => product.Name == "renamed", Cancellation));
        Assert.Equal(before, await after.Products.CountAsync(Cancellation));
        Assert.InRange(shop.Snapshot.TotalOpened - shop.Snapshot.TotalClosed, 0, 1);
    }

    /// <summary>EF Core decides by the string whether there may be an ambient transaction; without one, it begins its own.</summary>
    [Fact]
    public async Task Scope_StringWasReadBeforeTheFirstConnection_SavesWithinIt()
    {
        await using var shop = await ShopPool.CreateAsync(database: await ShopDatabase.CreateAsync(ShopDatabase.NewName()));
        await using var context = shop.Context();
        _ = context.Database.GetConnectionString();
        using (new TransactionScope(TransactionScopeAsyncFlowOption.Enabled))
        {
            context.Products.RemoveRange(await context.Products.OrderBy(product => product.Id).Take(2).ToListAsync(Cancellation));
            await context.SaveChangesAsync(Cancellation);
        }

        await Eventually.True(() => shop.Places == (0, 1), "the place is back");
        await using var after = shop.Context();
        Assert.Equal(ShopData.Products, await after.Products.CountAsync(Cancellation));
    }

    [Fact]
    public async Task Scope_OneContextThatSavesAndQueries_OpensAndClosesWithinIt()
    {
        await using var shop = await ShopPool.CreateAsync(database: await ShopDatabase.CreateAsync(ShopDatabase.NewName()));
        await using var context = shop.Context();
        using (var scope = new TransactionScope(TransactionScopeAsyncFlowOption.Enabled))
        {
            var product = await context.Products.OrderBy(product => product.Id).FirstAsync(Cancellation);
            product.Name = "first";
            await context.SaveChangesAsync(Cancellation);
            product.Name = "second";
            await context.SaveChangesAsync(Cancellation);
            scope.Complete();
        }

        await Eventually.True(() => shop.Places == (0, 1), "the place is back");
        Assert.Equal(1, await context.Products.CountAsync(product => product.Name == "second", Cancellation));
    }

    /// <summary>As Dapper opens what it finds closed. What Npgsql opens so is kept for the transaction past the pool, or is no part of it: both were seen.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Scope_ItsConnectionIsOpenedBesideTheContext_IsRefusedWithTheRemedy(bool isWarm)
    {
        await using var shop = await ShopPool.CreateAsync(database: await ShopDatabase.CreateAsync(ShopDatabase.NewName()));
        if (isWarm)
        {
            await using var before = shop.Context();
            await before.Products.CountAsync(Cancellation);
        }

        using (new TransactionScope(TransactionScopeAsyncFlowOption.Enabled))
        {
            await using var context = shop.Context();
            var connection = context.Database.GetDbConnection();

            var error = await Assert.ThrowsAsync<InvalidOperationException>(() => connection.OpenAsync(Cancellation));

            Assert.Contains("context.Database.OpenConnectionAsync()", error.Message, StringComparison.Ordinal);
        }

        using (var scope = new TransactionScope(TransactionScopeAsyncFlowOption.Enabled))
        {
            await using var context = shop.Context();
            await context.Database.OpenConnectionAsync(Cancellation);
            Assert.Equal(System.Data.ConnectionState.Open, context.Database.GetDbConnection().State);
            scope.Complete();
        }

        await Eventually.True(() => shop.Places == (0, 1), "the place is back");
        Assert.Equal(1, shop.Snapshot.TotalOpened - shop.Snapshot.TotalClosed);
    }
}
