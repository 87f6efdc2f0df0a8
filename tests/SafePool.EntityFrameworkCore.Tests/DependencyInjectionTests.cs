using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Diagnostics;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.Extensions.DependencyInjection;
using SafePool.EntityFrameworkCore.Tests.Shop;
using Xunit;

namespace SafePool.EntityFrameworkCore.Tests;

public sealed class DependencyInjectionTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task AddDbContext_PoolIsRegistered_TakesFromIt()
    {
        await using var shop = await ShopPool.CreateAsync();
        var services = new ServiceCollection().AddSingleton(shop.Pool);
        services.AddDbContext<ShopContext>(options => options.UseSafePool());
        await using var provider = services.BuildServiceProvider();

        await CountAsync(provider);

        Assert.Equal((1, 0), (shop.Snapshot.TotalRents, shop.Snapshot.Leased));
    }

    [Fact]
    public async Task AddDbContext_OnlyTheInterfaceIsRegistered_TakesFromThePoolBehindIt()
    {
        await using var shop = await ShopPool.CreateAsync();
        var services = new ServiceCollection().AddSingleton<IConnectionPool>(shop.Pool);
        services.AddDbContext<ShopContext>((provider, options) => options.UseSafePool(provider));
        await using var provider = services.BuildServiceProvider();

        await CountAsync(provider);

        Assert.Equal(1, shop.Snapshot.TotalRents);
    }

    [Fact]
    public async Task AddDbContext_TwoPoolsByName_TakesFromTheOneThatIsNamed()
    {
        await using var first = await ShopPool.CreateAsync();
        await using var second = await ShopPool.CreateAsync();
        var services = new ServiceCollection().AddKeyedSingleton("first", first.Pool).AddKeyedSingleton("second", second.Pool);
        services.AddDbContext<ShopContext>((provider, options) => options.UseSafePool(provider, "second"));
        await using var provider = services.BuildServiceProvider();

        await CountAsync(provider);

        Assert.Equal((0, 1), (first.Snapshot.TotalRents, second.Snapshot.TotalRents));
    }

    [Fact]
    public async Task AddDbContextPool_ContextGoesBackWithItsConnectionOpen_ThePlaceIsBackAndTheContextIsUsedAgain()
    {
        await using var shop = await ShopPool.CreateAsync();
        var services = new ServiceCollection().AddSingleton(shop.Pool);
        services.AddDbContextPool<ShopContext>((provider, options) => options.UseSafePool(provider), poolSize: 1);
        await using var provider = services.BuildServiceProvider();
        var contexts = new HashSet<DbContext>(ReferenceEqualityComparer.Instance);

        for (var i = 0; i < 3; i++)
        {
            await using var scope = provider.CreateAsyncScope();
            var context = scope.ServiceProvider.GetRequiredService<ShopContext>();
            contexts.Add(context);
            await context.Database.BeginTransactionAsync(Cancellation);
            Assert.Equal(ShopData.Products, await context.Products.CountAsync(Cancellation));
            Assert.Equal(1, shop.Snapshot.Leased);
        }

        Assert.Single(contexts);
        Assert.Equal((0, 1), shop.Places);
        Assert.Equal((3, 1), (shop.Snapshot.TotalRents, shop.Snapshot.TotalOpened));
    }

    [Fact]
    public async Task AddDbContextFactory_ContextsOfIt_GiveTheirPlaceBack()
    {
        await using var shop = await ShopPool.CreateAsync();
        var services = new ServiceCollection().AddSingleton(shop.Pool);
        services.AddPooledDbContextFactory<ShopContext>((provider, options) => options.UseSafePool(provider));
        await using var provider = services.BuildServiceProvider();
        var factory = provider.GetRequiredService<IDbContextFactory<ShopContext>>();

        await using (var context = await factory.CreateDbContextAsync(Cancellation))
        {
            await context.Database.OpenConnectionAsync(Cancellation);
        }

        Assert.Equal((0, 1), shop.Places);
    }

    /// <summary>As <c>dotnet ef</c> does: the model and scripts need no database, so they need no connection string.</summary>
    [Theory]
    [InlineData(null)]
    [InlineData("orders")]
    public async Task AddDbContext_ThePoolHasNoConnectionString_WorksUntilItWantsAConnection(string? name)
    {
        var services = new ServiceCollection();
        services.AddKeyedSingleton(name, (_, _) => new ConnectionPool(new ConnectionPoolOptions()));
        services.AddSingleton(_ => new ConnectionPool(new ConnectionPoolOptions()));
        services.AddDbContext<ShopContext>((provider, options) => options.UseSafePool(provider, name));
        await using var provider = services.BuildServiceProvider();
        await using var scope = provider.CreateAsyncScope();
        var context = scope.ServiceProvider.GetRequiredService<ShopContext>();

        Assert.Contains("CREATE TABLE", context.Database.GenerateCreateScript(), StringComparison.Ordinal);

        var error = await Assert.ThrowsAsync<Microsoft.Extensions.Options.OptionsValidationException>(() => context.Products.CountAsync(Cancellation));
        Assert.Contains("ConnectionString", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task UseSafePool_NoPoolIsRegistered_SaysSo()
    {
        var services = new ServiceCollection();
        services.AddDbContext<ShopContext>(options => options.UseSafePool());
        await using var provider = services.BuildServiceProvider();

        var error = Assert.Throws<InvalidOperationException>(provider.GetRequiredService<ShopContext>);

        Assert.Contains("No ConnectionPool is registered", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void UseSafePool_WithoutDependencyInjection_SaysWhatToDo()
    {
        var error = Assert.Throws<InvalidOperationException>(() => new DbContextOptionsBuilder<ShopContext>().UseSafePool());

        Assert.Contains("UseSafePool(pool)", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task UseSafePool_ManyPools_ShareOneServiceProviderOfEfCore()
    {
        var singletons = new HashSet<object>(ReferenceEqualityComparer.Instance);
        for (var i = 0; i < 30; i++)
        {
            await using var shop = await ShopPool.CreateAsync();
            await using var context = shop.Context(
                options => options.ConfigureWarnings(warnings => warnings.Throw(CoreEventId.ManyServiceProvidersCreatedWarning)));
            await context.Products.CountAsync(Cancellation);
            singletons.Add(context.GetService<Microsoft.EntityFrameworkCore.Storage.IRelationalTypeMappingSource>());
        }

        Assert.Single(singletons);
    }

    private static async Task CountAsync(IServiceProvider provider)
    {
        await using var scope = provider.CreateAsyncScope();
        var context = scope.ServiceProvider.GetRequiredService<ShopContext>();
        Assert.Equal(ShopData.Products, await context.Products.CountAsync(Cancellation));
    }
}
