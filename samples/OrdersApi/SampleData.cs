using Microsoft.EntityFrameworkCore;

namespace SafePool.Samples.OrdersApi;

/// <summary>What is in the shop when it opens.</summary>
internal static class SampleData
{
    public static async Task CreateAsync(IServiceProvider services)
    {
        await using var scope = services.CreateAsyncScope();
        var context = scope.ServiceProvider.GetRequiredService<OrdersContext>();
        if (!await context.Database.EnsureCreatedAsync() && await context.Products.AnyAsync())
        {
            return;
        }

        context.Products.AddRange(Enumerable.Range(1, 20).Select(i => new Product { Name = $"product {i}", Price = i * 1.50m, Stock = 1_000_000 }));
        context.Orders.AddRange(Enumerable.Range(1, 100).Select(i => new Order { Customer = $"customer {i % 7}" }));
        await context.SaveChangesAsync();
    }
}
