using Microsoft.EntityFrameworkCore;

namespace SafePool.Samples.OrdersApi.Endpoints;

/// <summary>With EF Core: every open of the context is a lease, returned when the context closes its connection.</summary>
internal static class OrderEndpoints
{
    public static void MapOrders(this IEndpointRouteBuilder app)
    {
        app.MapPost("/orders", CreateAsync);
        app.MapGet("/orders/{id:int}", FindAsync);
        app.MapPut("/orders/{id:int}/shipped", ShipAsync);
    }

    private static async Task<IResult> CreateAsync(OrderRequest request, OrdersContext context, CancellationToken cancellationToken)
    {
        // Over both statements the transaction holds the connection.
        await using var transaction = await context.Database.BeginTransactionAsync(cancellationToken);
        var product = await context.Products.FindAsync([request.ProductId], cancellationToken);
        if (product is null)
        {
            return Results.NotFound();
        }

        var order = new Order { Customer = request.Customer };
        order.Lines.Add(new OrderLine { ProductId = product.Id, Quantity = request.Quantity, Price = product.Price });
        context.Orders.Add(order);
        await context.SaveChangesAsync(cancellationToken);
        await transaction.CommitAsync(cancellationToken);
        return Results.Created($"/orders/{order.Id}", order);
    }

    private static async Task<IResult> FindAsync(int id, OrdersContext context, CancellationToken cancellationToken)
        => await context.Orders.AsNoTracking().Include(order => order.Lines).SingleOrDefaultAsync(order => order.Id == id, cancellationToken) is { } order
            ? Results.Ok(order)
            : Results.NotFound();

    private static async Task<IResult> ShipAsync(int id, OrdersContext context, CancellationToken cancellationToken)
    {
        var changed = await context.Orders.Where(order => order.Id == id)
            .ExecuteUpdateAsync(set => set.SetProperty(order => order.IsShipped, true), cancellationToken);
        return changed == 1 ? Results.NoContent() : Results.NotFound();
    }
}

internal sealed record OrderRequest(string Customer, int ProductId, int Quantity);
