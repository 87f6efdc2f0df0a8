using Dapper;

namespace SafePool.Samples.OrdersApi.Endpoints;

/// <summary>With Dapper: on a lease, and on a connection as a data source would give it.</summary>
internal static class ReportEndpoints
{
    public static void MapReports(this IEndpointRouteBuilder app)
    {
        app.MapGet("/reports/revenue", RevenueAsync);
        app.MapGet("/reports/top-products", TopProductsAsync);
        app.MapGet("/reports/pool", (ConnectionPool pool) => pool.GetSnapshot().ToString());
    }

    private static async Task<IResult> RevenueAsync(ConnectionPool pool, CancellationToken cancellationToken)
    {
        await using var lease = await pool.RentAsync(cancellationToken);
        return Results.Ok(await lease.Connection.ExecuteScalarAsync<decimal>(new CommandDefinition(
            """SELECT coalesce(sum("Quantity" * "Price"), 0) FROM order_lines""", cancellationToken: cancellationToken)));
    }

    private static async Task<IResult> TopProductsAsync(ConnectionPool pool, CancellationToken cancellationToken)
    {
        await using var connection = await pool.OpenConnectionAsync(cancellationToken);
        return Results.Ok(await connection.QueryAsync<ProductSales>(new CommandDefinition(
            """
            SELECT p."Name", sum(l."Quantity") AS "Sold"
            FROM order_lines l JOIN products p ON p."Id" = l."ProductId"
            GROUP BY p."Name" ORDER BY 2 DESC LIMIT 5
            """,
            cancellationToken: cancellationToken)));
    }
}

internal sealed record ProductSales(string Name, long Sold);
