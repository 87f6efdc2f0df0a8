using Dapper;

namespace SafePool.Samples.OrdersApi.Endpoints;

/// <summary>The mistake that this library is about. Only there when the configuration says <c>Leaky</c>.</summary>
internal static class LeakEndpoint
{
    public static void MapLeak(this IEndpointRouteBuilder app) => app.MapGet("/leak", ForgetAsync);

    private static async Task<IResult> ForgetAsync(ConnectionPool pool, CancellationToken cancellationToken)
    {
#pragma warning disable SFP0001 // The compiler would not have it.
        var lease = await pool.RentAsync(cancellationToken); // no using, and no Dispose
#pragma warning restore SFP0001
        return Results.Ok(await lease.Connection.ExecuteScalarAsync<int>("SELECT 1"));
    }
}
