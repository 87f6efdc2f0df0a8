using System.Data.Common;
using System.Runtime.CompilerServices;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Diagnostics;
using SafePool.EntityFrameworkCore.Tests.Shop;
using Xunit;

namespace SafePool.EntityFrameworkCore.Tests;

/// <summary>A lease of a context names the line of the user that needs it, not the inside of EF Core.</summary>
public sealed class RentSiteTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Site_OfAnAsyncQuery_IsTheLineThatRunsIt()
    {
        await using var shop = await ShopPool.CreateAsync();
        await using var context = shop.Context();
        LeaseHolder? holder = null;

        var line = Here() + 1;
        await foreach (var order in context.Orders.AsAsyncEnumerable().WithCancellation(Cancellation))
        {
            holder ??= Assert.Single(shop.Snapshot.Holders);
        }

        Assert.Equal(("RentSiteTests.cs", line, nameof(Site_OfAnAsyncQuery_IsTheLineThatRunsIt), nameof(ShopContext)), (holder!.File, holder.Line, holder.Member, holder.Label));
    }

    [Fact]
    public async Task Site_AfterAwaits_IsStillTheUsers()
    {
        await using var shop = await ShopPool.CreateAsync();
        await using var context = shop.Context();
        await context.Products.CountAsync(Cancellation);
        await Task.Yield();

        await BeginAsync(context);

        var holder = Assert.Single(shop.Snapshot.Holders);
        Assert.Equal(("RentSiteTests.cs", nameof(BeginAsync)), (holder.File, holder.Member));
    }

    [Fact]
    public async Task Site_OfASynchronousLambda_IsTheLambda()
    {
        await using var shop = await ShopPool.CreateAsync();
        await using var context = shop.Context();
        Action open = () => context.Database.OpenConnection();

        open();

        Assert.Equal(("RentSiteTests.cs", $"{nameof(Site_OfASynchronousLambda_IsTheLambda)}.(lambda)"), (Assert.Single(shop.Snapshot.Holders).File, Assert.Single(shop.Snapshot.Holders).Member));
    }

    [Fact]
    public async Task Site_OfASaveThatTheContextOverrides_IsItsCaller()
    {
        await using var shop = await ShopPool.CreateAsync();
        var seen = new List<LeaseHolder>();
        await using var context = new SavingContext(
            new DbContextOptionsBuilder<SavingContext>().UseSafePool(shop.Pool).AddInterceptors(new Watching(() => seen.AddRange(shop.Snapshot.Holders))).Options);
        context.Add(new Category { Name = new string('-', 20) });

        await context.SaveChangesAsync(Cancellation);
        await context.Categories.Where(category => category.Name.StartsWith("---")).ExecuteDeleteAsync(Cancellation);

        Assert.Equal(nameof(Site_OfASaveThatTheContextOverrides_IsItsCaller), seen[0].Member);
    }

    [Fact]
    public async Task Site_TrackingIsOff_IsUnknown()
    {
        await using var shop = await ShopPool.CreateAsync(options => options.Leaks.Tracking = LeaseTracking.Off);
        await using var context = shop.Context();

        await context.Database.OpenConnectionAsync(Cancellation);

        Assert.Equal(("", 0, ""), (Assert.Single(shop.Snapshot.Holders).File, Assert.Single(shop.Snapshot.Holders).Line, Assert.Single(shop.Snapshot.Holders).Member));
    }

    [Fact]
    public async Task Site_StackIsTraced_ShowsNoFramesOfTheFrameworks()
    {
        await using var shop = await ShopPool.CreateAsync(options => options.Leaks.Tracking = LeaseTracking.StackTrace);
        await using var context = shop.Context();

        await context.Database.OpenConnectionAsync(Cancellation);

        var stack = Assert.Single(shop.Snapshot.Holders).StackTrace!;
        Assert.Contains($"{nameof(RentSiteTests)}.{nameof(Site_StackIsTraced_ShowsNoFramesOfTheFrameworks)}", stack, StringComparison.Ordinal);
        Assert.DoesNotContain("Interceptor", stack, StringComparison.Ordinal);
        Assert.DoesNotContain("Microsoft.", stack, StringComparison.Ordinal);
    }

    private static async Task BeginAsync(ShopContext context) => await context.Database.OpenConnectionAsync(Cancellation);

    private static int Here([CallerLineNumber] int line = 0) => line;

    private sealed class SavingContext(DbContextOptions options) : ShopContext(options)
    {
        public override async Task<int> SaveChangesAsync(CancellationToken cancellationToken = default) => await base.SaveChangesAsync(cancellationToken);
    }

    private sealed class Watching(Action look) : DbCommandInterceptor
    {
        public override ValueTask<InterceptionResult<DbDataReader>> ReaderExecutingAsync(
            DbCommand command, CommandEventData eventData, InterceptionResult<DbDataReader> result, CancellationToken cancellationToken = default)
        {
            look();
            return new(result);
        }
    }
}
