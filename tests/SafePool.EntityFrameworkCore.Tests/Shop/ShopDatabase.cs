using Microsoft.EntityFrameworkCore;
using Npgsql;
using SafePool.TestKit;

namespace SafePool.EntityFrameworkCore.Tests.Shop;

/// <summary>A database with the shop in it: one that all read, and fresh ones for who writes.</summary>
internal static class ShopDatabase
{
    private static readonly Lazy<Task<string>> _shared = new(() => CreateAsync(NewName()));
    private static int _databases;

    public static Task<string> SharedAsync() => _shared.Value;

    public static async Task<string> ServerAsync()
    {
        await using var database = await TestDatabase.AcquireAsync();
        return database.ConnectionString;
    }

    public static string NewName() => $"shop_{Environment.ProcessId}_{Interlocked.Increment(ref _databases)}";

    public static async Task<string> NameOnServerAsync(string database)
        => new NpgsqlConnectionStringBuilder(await ServerAsync()) { Database = database }.ConnectionString;

    /// <summary>Made without SafePool, so that what is tested does not stand on itself.</summary>
    public static async Task<string> CreateAsync(string name)
    {
        var text = await NameOnServerAsync(name);
        var unpooled = new NpgsqlConnectionStringBuilder(text) { Pooling = false }.ConnectionString;
        await using var context = new ShopContext(new DbContextOptionsBuilder<ShopContext>().UseNpgsql(unpooled).Options);
        await context.Database.EnsureDeletedAsync();
        await context.Database.EnsureCreatedAsync();
        ShopData.AddTo(context);
        await context.SaveChangesAsync();
        return text;
    }
}
