using Dapper;
using Microsoft.EntityFrameworkCore;
using SafePool.EntityFrameworkCore.Tests.Shop;
using Xunit;

namespace SafePool.EntityFrameworkCore.Tests;

/// <summary>EF Core's object leads to one host; what is idle may lie at another. Two names of one server are two hosts for a pool.</summary>
public sealed class SeveralHostsTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Query_WhateverHostHasSomethingIdle_IsServedFromThere(bool balanced)
    {
        await using var shop = await CreateAsync(balanced);
        await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => CountAsync(shop)));
        for (var i = 0; i < 20; i++)
        {
            Assert.Equal(Shop.ShopData.Products, await CountAsync(shop));
        }

        Assert.Equal(0, shop.Places.Leased);
        Assert.InRange(shop.Snapshot.TotalOpened - shop.Snapshot.TotalClosed, 1, 4);
    }

    [Fact]
    public async Task Dapper_OpensTheObjectItselfWhileTheIdleConnectionLiesAtTheOtherHost_IsServed()
    {
        await using var shop = await CreateAsync(balanced: true);
        for (var i = 0; i < 10; i++)
        {
            await using var context = shop.Context();
            Assert.Equal(1, await context.Database.GetDbConnection().ExecuteScalarAsync<int>("SELECT 1"));
        }

        Assert.Equal(0, shop.Places.Leased);
    }

    private static async Task<int> CountAsync(ShopPool shop)
    {
        await using var context = shop.Context();
        return await context.Products.CountAsync(Cancellation);
    }

    private static Task<ShopPool> CreateAsync(bool balanced)
        => ShopPool.CreateAsync(options => options.MaxSize = 4, text => (text.Host, text.LoadBalanceHosts) = ("127.0.0.1,localhost", balanced));
}
