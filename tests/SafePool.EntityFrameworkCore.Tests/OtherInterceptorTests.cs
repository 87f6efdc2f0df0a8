using System.Data.Common;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Diagnostics;
using SafePool.EntityFrameworkCore.Tests.Shop;
using Xunit;

namespace SafePool.EntityFrameworkCore.Tests;

/// <summary>Interceptors of the user's own, before and after that of SafePool.</summary>
public sealed class OtherInterceptorTests
{
    private readonly List<string> _heard = [];

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(true, true)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    [InlineData(false, false)]
    public async Task Interceptors_InAnyOrder_AreAllCalled(bool first, bool async)
    {
        await using var shop = await ShopPool.CreateAsync();
        await using var context = Context(shop, first, new Listening(_heard), new ListeningToCommands(_heard));

        Assert.Equal(ShopData.Products, async ? await context.Products.CountAsync(Cancellation) : context.Products.Count());

        Assert.Equal(["creating", "created", "opening", "opened", "command", "closing", "closed"], _heard);
        Assert.Equal((0, 1), shop.Places);
    }

    [Theory]
    [InlineData(true, true)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    [InlineData(false, false)]
    public async Task Interceptor_ThrowsWhileItOpens_LosesNoPlace(bool first, bool async)
    {
        await using var shop = await ShopPool.CreateAsync();
        var throwing = new Throwing();
        await using var context = Context(shop, first, throwing);

        await Assert.ThrowsAsync<NotSupportedException>(async () => _ = async ? await context.Products.CountAsync(Cancellation) : context.Products.Count());
        Assert.Equal(0, shop.Snapshot.Leased);
        throwing.IsOn = false;

        Assert.Equal(ShopData.Products, await context.Products.CountAsync(Cancellation));
        Assert.Equal((0, 1), shop.Places);
    }

    [Fact]
    public async Task UseSafePool_CalledTwice_RentsOnce()
    {
        await using var shop = await ShopPool.CreateAsync();
        await using var context = shop.Context(options => options.UseSafePool(shop.Pool));

        await context.Products.CountAsync(Cancellation);

        Assert.Equal((0, 1), shop.Places);
        Assert.Equal(1, shop.Snapshot.TotalRents);
    }

    private static ShopContext Context(ShopPool shop, bool first, params IInterceptor[] others)
    {
        var options = new DbContextOptionsBuilder<ShopContext>();
        if (first)
        {
            options.AddInterceptors(others).UseSafePool(shop.Pool);
        }
        else
        {
            options.UseSafePool(shop.Pool).AddInterceptors(others);
        }

        return new ShopContext(options.Options);
    }

    private sealed class Throwing : DbConnectionInterceptor
    {
        public bool IsOn { get; set; } = true;

        public override InterceptionResult ConnectionOpening(DbConnection connection, ConnectionEventData eventData, InterceptionResult result)
            => IsOn ? throw new NotSupportedException() : result;

        public override ValueTask<InterceptionResult> ConnectionOpeningAsync(
            DbConnection connection, ConnectionEventData eventData, InterceptionResult result, CancellationToken cancellationToken = default)
            => new(ConnectionOpening(connection, eventData, result));
    }

    private sealed class Listening(List<string> heard) : DbConnectionInterceptor
    {
        public override InterceptionResult<DbConnection> ConnectionCreating(ConnectionCreatingEventData eventData, InterceptionResult<DbConnection> result)
            => Hear("creating", result);

        public override DbConnection ConnectionCreated(ConnectionCreatedEventData eventData, DbConnection result) => Hear("created", result);

        public override InterceptionResult ConnectionOpening(DbConnection connection, ConnectionEventData eventData, InterceptionResult result) => Hear("opening", result);

        public override ValueTask<InterceptionResult> ConnectionOpeningAsync(
            DbConnection connection, ConnectionEventData eventData, InterceptionResult result, CancellationToken cancellationToken = default)
            => new(Hear("opening", result));

        public override void ConnectionOpened(DbConnection connection, ConnectionEndEventData eventData) => Hear("opened", 0);

        public override Task ConnectionOpenedAsync(DbConnection connection, ConnectionEndEventData eventData, CancellationToken cancellationToken = default)
            => Task.FromResult(Hear("opened", 0));

        public override InterceptionResult ConnectionClosing(DbConnection connection, ConnectionEventData eventData, InterceptionResult result) => Hear("closing", result);

        public override ValueTask<InterceptionResult> ConnectionClosingAsync(DbConnection connection, ConnectionEventData eventData, InterceptionResult result)
            => new(Hear("closing", result));

        public override void ConnectionClosed(DbConnection connection, ConnectionEndEventData eventData) => Hear("closed", 0);

        public override Task ConnectionClosedAsync(DbConnection connection, ConnectionEndEventData eventData) => Task.FromResult(Hear("closed", 0));

        private T Hear<T>(string what, T result)
        {
            heard.Add(what);
            return result;
        }
    }

    private sealed class ListeningToCommands(List<string> heard) : DbCommandInterceptor
    {
        public override InterceptionResult<DbDataReader> ReaderExecuting(DbCommand command, CommandEventData eventData, InterceptionResult<DbDataReader> result)
        {
            heard.Add("command");
            return result;
        }

        public override ValueTask<InterceptionResult<DbDataReader>> ReaderExecutingAsync(
            DbCommand command, CommandEventData eventData, InterceptionResult<DbDataReader> result, CancellationToken cancellationToken = default)
            => new(ReaderExecuting(command, eventData, result));
    }
}
