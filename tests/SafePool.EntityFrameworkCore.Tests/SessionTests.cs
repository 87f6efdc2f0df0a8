using System.Transactions;
using Dapper;
using Microsoft.EntityFrameworkCore;
using Npgsql;
using SafePool.EntityFrameworkCore.Tests.Shop;
using SafePool.TestKit;
using Xunit;

namespace SafePool.EntityFrameworkCore.Tests;

/// <summary>What the pool promises about sessions holds for those of contexts.</summary>
public sealed class SessionTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(SessionReset.Full)]
    [InlineData(SessionReset.Strict)]
    public async Task Close_TheNextLease_FindsAFreshSession(SessionReset reset)
    {
        await using var shop = await ShopPool.CreateAsync(options => options.Reset = reset);
        for (var i = 0; i < 3; i++)
        {
            await using var context = shop.Context();
            await context.Database.OpenConnectionAsync(Cancellation);
            Assert.Equal("4MB", await ShowAsync(context, "work_mem"));
            await context.Database.ExecuteSqlRawAsync("SET work_mem = '7MB'; CREATE TEMP TABLE mine (i int)", Cancellation);
        }

        Assert.Equal(1, shop.Snapshot.TotalOpened);
        Assert.Equal((0, 1), shop.Places);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Hook_PreparesTheSession_IsInForceInTheContextHoweverItWasOpened(bool direct)
    {
        await using var shop = await ShopPool.CreateAsync(options => options.LeaseRented = async (connection, cancellation) =>
        {
            await using var command = new NpgsqlCommand("SET work_mem = '9MB'", connection);
            await command.ExecuteNonQueryAsync(cancellation);
        });
        for (var i = 0; i < 3; i++)
        {
            await using var context = shop.Context();
            if (!direct)
            {
                await context.Database.OpenConnectionAsync(Cancellation);
            }

            Assert.Equal("9MB", await context.Database.GetDbConnection().ExecuteScalarAsync<string>("SHOW work_mem"));
        }

        Assert.Equal((0, 1), shop.Places);
    }

    [Fact]
    public async Task Hook_Throws_FailsTheQueryAndLosesNoPlace()
    {
        var fails = true;
        await using var shop = await ShopPool.CreateAsync(
            options => options.LeaseRented = (_, _) => fails ? throw new NotSupportedException("not today") : ValueTask.CompletedTask);
        await using var context = shop.Context();

        await Assert.ThrowsAsync<NotSupportedException>(() => context.Products.CountAsync(Cancellation));
        fails = false;

        Assert.Equal(ShopData.Products, await context.Products.CountAsync(Cancellation));
        Assert.Equal((0, 1), shop.Places);
    }

    [Fact]
    public async Task StatementTimeout_IsInForceInTheContext()
    {
        await using var shop = await ShopPool.CreateAsync(options => options.StatementTimeout = TimeSpan.FromSeconds(7));
        await using var context = shop.Context();
        await context.Database.OpenConnectionAsync(Cancellation);

        Assert.Equal("7s", await ShowAsync(context, "statement_timeout"));
    }

    [Fact]
    public async Task Probe_AfterAQuietTime_IsMadeAndTheContextStillGetsTheConnection()
    {
        var clock = new ManualTimeProvider();
        await using var shop = await ShopPool.CreateAsync(
            options => (options.ProbeAfterIdle, options.ProbeAfterQuiet) = (TimeSpan.FromHours(1), TimeSpan.FromSeconds(1)), clock: clock);
        await using var context = shop.Context();
        await context.Products.CountAsync(Cancellation);

        for (var i = 0; i < 5; i++)
        {
            clock.Advance(TimeSpan.FromSeconds(2));
            await Eventually.True(() => shop.Places == (0, 1), "the sweep has given it back");
            Assert.Equal(ShopData.Products, await context.Products.CountAsync(Cancellation));
        }

        Assert.Equal((0, 1), shop.Places);
    }

    [Fact]
    public async Task Expired_ConnectionsAreReplaced_AndTheContextDoesNotNotice()
    {
        await using var shop = await ShopPool.CreateAsync(options => options.MaxLifetime = TimeSpan.FromSeconds(1));
        await using var context = shop.Context();

        await Eventually.True(
            async () =>
            {
                Assert.Equal(ShopData.Products, await context.Products.CountAsync(Cancellation));
                return shop.Snapshot.TotalOpened > 2;
            },
            "it has been replaced twice");

        Assert.Equal(0, shop.Snapshot.Leased);
    }

    [Fact]
    public async Task Clear_WhileAContextHoldsALease_RetiresItsConnectionWhenItCloses()
    {
        await using var shop = await ShopPool.CreateAsync();
        await using var context = shop.Context();
        await context.Database.OpenConnectionAsync(Cancellation);

        shop.Pool.Clear();
        await context.Database.CloseConnectionAsync();

        Assert.Equal(ShopData.Products, await context.Products.CountAsync(Cancellation));
        Assert.Equal((2, 1), (shop.Snapshot.TotalOpened, shop.Snapshot.TotalClosed));
    }

    [Fact]
    public async Task TransactionScope_EnlistIsOff_IsServedOutsideOfTheScope()
    {
        await using var shop = await ShopPool.CreateAsync(text: text => text.Enlist = false);
        await using var context = shop.Context();
        using var scope = new TransactionScope(TransactionScopeAsyncFlowOption.Enabled);

        Assert.Equal(ShopData.Products, await context.Products.CountAsync(Cancellation));

        Assert.Equal((0, 1), shop.Places);
    }

    [Theory]
    [InlineData(PoolMode.Session)]
    [InlineData(PoolMode.Transaction)]
    public async Task Pooler_IsFoundAtTheFirstOpen_ContextsThatWereMadeBeforeWorkOn(PoolMode mode)
    {
        var shared = await ShopDatabase.SharedAsync();
        await using var bouncer = await PgBouncerServer.StartAsync(await ShopDatabase.ServerAsync(), options => options.Mode = mode, Cancellation);
        var text = new NpgsqlConnectionStringBuilder(bouncer.ConnectionString) { Database = new NpgsqlConnectionStringBuilder(shared).Database };
        await using var shop = await ShopPool.CreateAsync(options => options.MaxSize = 2, database: text.ConnectionString);
        await using var early = shop.Context();
        _ = early.Database.GetDbConnection();
        await using var other = shop.Context();

        Assert.Equal(ShopData.Products, await early.Products.CountAsync(Cancellation));
        await using (await other.Database.BeginTransactionAsync(Cancellation))
        {
            Assert.Equal(ShopData.Orders, other.Orders.Count());
        }

        Assert.Equal(ShopData.Products, await early.Products.CountAsync(Cancellation));
        Assert.Equal(0, shop.Snapshot.Leased);
    }

    /// <summary>EF Core makes such a command before it opens: it would keep the object that could not be opened any more.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Pooler_IsFoundAtTheFirstOpen_TheFirstCommandOfAContextMayBeNoQuery(bool async)
    {
        var shared = await ShopDatabase.SharedAsync();
        await using var bouncer = await PgBouncerServer.StartAsync(await ShopDatabase.ServerAsync(), options => options.Mode = PoolMode.Transaction, Cancellation);
        var text = new NpgsqlConnectionStringBuilder(bouncer.ConnectionString) { Database = new NpgsqlConnectionStringBuilder(shared).Database };
        await using var shop = await ShopPool.CreateAsync(database: text.ConnectionString);
        await using var early = shop.Context();
        _ = early.Database.GetDbConnection();
        await using (var other = shop.Context())
        {
            Assert.Equal(ShopData.Products, await other.Products.CountAsync(Cancellation));
        }

        var nobody = early.Products.Where(product => product.Id < 0);
        Assert.Equal(0, async ? await nobody.ExecuteDeleteAsync(Cancellation) : nobody.ExecuteDelete());
        Assert.Equal(-1, async ? await early.Database.ExecuteSqlRawAsync("SELECT 1", Cancellation) : early.Database.ExecuteSqlRaw("SELECT 1"));
        Assert.Equal(0, shop.Snapshot.Leased);
    }

    private static Task<string> ShowAsync(ShopContext context, string setting)
        => context.Database.GetDbConnection().ExecuteScalarAsync<string>($"SHOW {setting}")!;
}
