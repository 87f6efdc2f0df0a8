using System.Data;
using System.Data.Common;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Diagnostics;
using Npgsql;
using SafePool.EntityFrameworkCore.Tests.Shop;
using Xunit;

namespace SafePool.EntityFrameworkCore.Tests;

/// <summary>A context's connection that is given another string is not the pool's any more: EF Core opens it, and nothing of the pool is used for it.</summary>
public sealed class OtherStringTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("SetConnectionString", false)]
    [InlineData("SetConnectionString", true)]
    [InlineData("ConnectionString", false)]
    [InlineData("ConnectionString", true)]
    [InlineData("interceptor before", false)]
    [InlineData("interceptor before", true)]
    [InlineData("interceptor after", false)]
    [InlineData("interceptor after", true)]
    [InlineData("ChangeDatabase", false)]
    [InlineData("ChangeDatabase", true)]
    public async Task Query_OnAContextWithAnotherString_RunsThereAtOnceAndIsNoLease(string way, bool otherPoolHasOneIdle)
    {
        await using var shop = await ShopPool.CreateAsync(options => options.AcquireTimeout = TimeSpan.FromSeconds(60));
        var name = $"elsewhere-{Guid.NewGuid():N}";
        var other = new NpgsqlConnectionStringBuilder(await ShopDatabase.SharedAsync()) { ApplicationName = name, Database = "postgres" }.ConnectionString;
        if (otherPoolHasOneIdle)
        {
            await using var earlier = new NpgsqlConnection(other);
            await earlier.OpenAsync(Cancellation);
        }

        await using (var context = Context(shop, way, other))
        {
            Assert.Equal("postgres", await context.Database.SqlQueryRaw<string>("SELECT current_database()::text AS \"Value\"").SingleAsync(Cancellation));
            Assert.Equal("postgres", context.Database.SqlQueryRaw<string>("SELECT current_database()::text AS \"Value\"").AsEnumerable().Single());
        }

        // To change the database a connection has to be open first.
        Assert.Equal(way == "ChangeDatabase" ? 1 : 0, shop.Snapshot.TotalRents);
        Assert.Equal((0, shop.Snapshot.TotalOpened - shop.Snapshot.TotalClosed), (shop.Snapshot.Leased, shop.Snapshot.Idle));
        await using (var own = shop.Context())
        {
            Assert.Equal(ShopData.Products, await own.Products.CountAsync(Cancellation));
        }

        await using var last = new NpgsqlConnection(other);
        NpgsqlConnection.ClearPool(last);
    }

    /// <summary>Npgsql goes over to a pool of its own then, though the string is the same.</summary>
    [Fact]
    public async Task Query_OnAContextThatWasGivenItsOwnStringAgain_IsALease()
    {
        await using var shop = await ShopPool.CreateAsync();
        await using var context = shop.Context();
        var connection = context.Database.GetDbConnection();
        connection.ConnectionString = connection.ConnectionString;

        Assert.Equal(ShopData.Products, await context.Products.CountAsync(Cancellation));
        Assert.Equal(ShopData.Products, context.Products.Count());

        Assert.Equal((0, 1), shop.Places);
        Assert.Equal((2L, 1L), (shop.Snapshot.TotalRents, await shop.SessionsAsync()));
    }

    [Fact]
    public async Task GetConnectionString_IsWhatThePoolWasGiven_WithoutThePassword()
    {
        await using var pool = ConnectionPool.Create("Host=localhost;Database=elsewhere", options => options.MaxSize = 3);
        await using var secretive = ConnectionPool.Create("Host=localhost;Database=elsewhere;Password=hush;Maximum Pool Size=7;Options=-c statement_timeout=3000");
        await using var context = new ShopContext(new DbContextOptionsBuilder<ShopContext>().UseSafePool(pool).Options);
        await using var other = new ShopContext(new DbContextOptionsBuilder<ShopContext>().UseSafePool(secretive).Options);

        Assert.Equal("Host=localhost;Database=elsewhere", context.Database.GetConnectionString());
        Assert.Equal("Host=localhost;Database=elsewhere;Maximum Pool Size=7;Options=\"-c statement_timeout=3000\"", other.Database.GetConnectionString());
    }

    /// <summary>An interceptor that leads each open elsewhere, and each close back, as applications with many tenants do.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Interceptor_ThatPutsAStringInAndTakesItOut_FindsThePoolsEveryTime(bool first)
    {
        await using var nowhere = ConnectionPool.Create("Host=localhost;Database=elsewhere");
        var there = await ShopDatabase.SharedAsync();
        var options = new DbContextOptionsBuilder<ShopContext>();
        var leading = new LeadingAndBack(there);
        _ = first ? options.AddInterceptors(leading).UseSafePool(nowhere) : options.UseSafePool(nowhere).AddInterceptors(leading);
        await using var context = new ShopContext(options.Options);

        Assert.Equal(ShopData.Products, context.Products.Count());
        Assert.Equal(ShopData.Products, context.Products.Count());

        Assert.Equal(["Host=localhost;Database=elsewhere", "Host=localhost;Database=elsewhere"], leading.Found);
        Assert.Equal(0, nowhere.GetSnapshot().TotalRents);
    }

    [Fact]
    public async Task Query_OnAContextThatGotItsPoolsStringBack_IsALease()
    {
        await using var shop = await ShopPool.CreateAsync();
        await using var context = shop.Context();
        Assert.Equal(ShopData.Products, context.Products.Count());
        var own = context.Database.GetConnectionString();
        context.Database.SetConnectionString("Host=localhost;Database=elsewhere");
        context.Database.SetConnectionString(own);

        Assert.Equal(ShopData.Products, context.Products.Count());
        Assert.Equal(ShopData.Products, await context.Products.CountAsync(Cancellation));

        Assert.Equal((0, 1), shop.Places);
        Assert.Equal((3L, 1L), (shop.Snapshot.TotalRents, await shop.SessionsAsync()));
    }

    private static ShopContext Context(ShopPool shop, string way, string other)
    {
        var options = new DbContextOptionsBuilder<ShopContext>();
        switch (way)
        {
            case "interceptor before":
                options.AddInterceptors(new Leading(other)).UseSafePool(shop.Pool);
                break;
            case "interceptor after":
                options.UseSafePool(shop.Pool).AddInterceptors(new Leading(other));
                break;
            default:
                options.UseSafePool(shop.Pool);
                break;
        }

        var context = new ShopContext(options.Options);
        switch (way)
        {
            case "SetConnectionString":
                _ = context.Database.GetDbConnection();
                context.Database.SetConnectionString(other);
                break;
            case "ConnectionString":
                context.Database.GetDbConnection().ConnectionString = other;
                break;
            case "ChangeDatabase":
                context.Database.OpenConnection();
                context.Database.GetDbConnection().ChangeDatabase("postgres");
                break;
        }

        return context;
    }

    private sealed class Leading(string to) : DbConnectionInterceptor
    {
        public override InterceptionResult ConnectionOpening(DbConnection connection, ConnectionEventData eventData, InterceptionResult result)
        {
            Assert.Equal(ConnectionState.Closed, connection.State);
            connection.ConnectionString = to;
            return result;
        }

        public override ValueTask<InterceptionResult> ConnectionOpeningAsync(
            DbConnection connection, ConnectionEventData eventData, InterceptionResult result, CancellationToken cancellationToken = default)
            => new(ConnectionOpening(connection, eventData, result));
    }

    private sealed class LeadingAndBack(string to) : DbConnectionInterceptor
    {
        public List<string?> Found { get; } = [];

        public override InterceptionResult ConnectionOpening(DbConnection connection, ConnectionEventData eventData, InterceptionResult result)
        {
            Found.Add(eventData.Context!.Database.GetConnectionString());
            eventData.Context.Database.SetConnectionString(to);
            return result;
        }

        public override void ConnectionClosed(DbConnection connection, ConnectionEndEventData eventData)
        {
            Assert.Equal(to, eventData.Context!.Database.GetConnectionString());
            eventData.Context.Database.SetConnectionString(Found[0]);
        }
    }
}
