using System.Runtime.CompilerServices;
using System.Text.RegularExpressions;
using Dapper;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;
using SafePool.EntityFrameworkCore.Tests.Shop;
using Xunit;

namespace SafePool.EntityFrameworkCore.Tests;

/// <summary>What docs/efcore.md shows is here, is compiled, and runs.</summary>
public sealed partial class DocumentationTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Setup_OnePool_Works()
    {
        var connectionString = await ShopDatabase.SharedAsync();
        var services = new ServiceCollection();
        services.AddSingleton(_ => ConnectionPool.Create(connectionString, pool => pool.MaxSize = 20));
        services.AddDbContext<ShopContext>(options => options.UseSafePool());
        await using var provider = services.BuildServiceProvider();
        await using var scope = provider.CreateAsyncScope();

        Assert.Equal(ShopData.Products, await scope.ServiceProvider.GetRequiredService<ShopContext>().Products.CountAsync(Cancellation));
    }

    [Fact]
    public async Task Setup_ByName_Works()
    {
        await using var shop = await ShopPool.CreateAsync();
        var services = new ServiceCollection();
        services.AddKeyedSingleton("orders", shop.Pool);
        services.AddDbContextPool<ShopContext>((provider, options) => options.UseSafePool(provider, "orders"));
        await using var provider = services.BuildServiceProvider();
        await using var scope = provider.CreateAsyncScope();

        Assert.Equal(ShopData.Products, await scope.ServiceProvider.GetRequiredService<ShopContext>().Products.CountAsync(Cancellation));
    }

    [Fact]
    public async Task Setup_ByHand_AndDapper_Work()
    {
        await using var shop = await ShopPool.CreateAsync();
        var (pool, cancellationToken) = (shop.Pool, Cancellation);
        var options = new DbContextOptionsBuilder<ShopContext>()
            .UseSafePool(pool, npgsql => npgsql.EnableRetryOnFailure())
            .Options;
        await using var context = new ShopContext(options);

        await context.Database.OpenConnectionAsync(cancellationToken);
        var names = await context.Database.GetDbConnection().QueryAsync<string>("SELECT \"Name\" FROM \"Products\"");

        Assert.Equal(ShopData.Products, names.Count());
    }

    [Fact]
    public async Task Page_EveryLineOfCode_IsInThisFile()
    {
        var here = Path();
        var source = (await File.ReadAllLinesAsync(here, Cancellation)).Select(line => line.Trim()).ToHashSet();
        var page = await File.ReadAllTextAsync(System.IO.Path.Combine(System.IO.Path.GetDirectoryName(here)!, "../../docs/efcore.md"), Cancellation);

        var shown = Block().Matches(page).SelectMany(block => block.Groups["code"].Value.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)).ToArray();

        Assert.NotEmpty(shown);
        Assert.All(shown, line => Assert.Contains(line, source));
    }

    private static string Path([CallerFilePath] string path = "") => path;

    [GeneratedRegex(@"```csharp\r?\n(?<code>.*?)```", RegexOptions.Singleline)]
    private static partial Regex Block();
}
