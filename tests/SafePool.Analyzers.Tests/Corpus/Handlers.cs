// ASP.NET Core handlers and controllers. "expect: ID" stands at the end of a line in which a rule has to say something.
using System.Net.Http;
using Dapper;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;

internal static class CountHandler
{
    public static async Task<IResult> GetAsync(IConnectionPool pool, CancellationToken cancellationToken)
    {
        await using var lease = await pool.RentAsync(cancellationToken);
        await using var command = lease.CreateCommand("SELECT count(*) FROM orders");
        return Results.Ok(await command.ExecuteScalarAsync(cancellationToken));
    }
}

internal static class ForgetfulHandler
{
    public static async Task<IResult> GetAsync(IConnectionPool pool, CancellationToken cancellationToken)
    {
        var lease = await pool.RentAsync(cancellationToken); // expect: SFP0001
        await using var command = lease.CreateCommand("SELECT count(*) FROM orders");
        return Results.Ok(await command.ExecuteScalarAsync(cancellationToken));
    }
}

internal static class EarlyReturnHandler
{
    public static async Task<IResult> GetAsync(int id, IConnectionPool pool, CancellationToken cancellationToken)
    {
        var lease = await pool.RentAsync(cancellationToken); // expect: SFP0001
        if (id <= 0)
        {
            return Results.BadRequest();
        }

        await using var command = lease.CreateCommand("SELECT 1");
        var found = await command.ExecuteScalarAsync(cancellationToken);
        await lease.DisposeAsync();
        return Results.Ok(found);
    }
}

internal static class TokenlessHandler
{
    public static async Task<IResult> GetAsync(IConnectionPool pool, CancellationToken cancellationToken)
    {
        await using var lease = await pool.RentAsync(); // expect: SFP0008
        return Results.Ok(lease.Id);
    }
}

internal static class MappedRoutes
{
    public static void Map(IEndpointRouteBuilder app)
    {
        app.MapGet("/a", async (ConnectionPool pool, CancellationToken token) =>
        {
            await using var connection = await pool.OpenConnectionAsync(token);
            return await connection.QueryAsync<int>("SELECT 1");
        });
        app.MapGet("/b", async (ConnectionPool pool, CancellationToken token) =>
        {
            var connection = await pool.OpenConnectionAsync(token); // expect: SFP0001
            return await connection.QueryAsync<int>("SELECT 1");
        });
        app.MapGet("/c", async (ConnectionPool pool) => await (await pool.OpenConnectionAsync()).QueryAsync<int>("SELECT 1")); // expect: SFP0001
        app.MapGet("/d", async () =>
        {
            await using var pool = ConnectionPool.Create("Host=db"); // expect: SFP0006
            await using var lease = await pool.RentAsync();
            return lease.Id;
        });
    }
}

internal static class RemoteCallHandler
{
    public static async Task<IResult> PostAsync(int id, IConnectionPool pool, HttpClient payments, CancellationToken cancellationToken)
    {
        await using var lease = await pool.RentAsync(cancellationToken);
        await using var transaction = await lease.BeginTransactionAsync(cancellationToken: cancellationToken);
        var answer = await payments.PostAsync($"/charge/{id}", null, cancellationToken); // expect: SFP0005
        await transaction.CommitAsync(cancellationToken);
        return Results.StatusCode((int)answer.StatusCode);
    }
}

internal static class RemoteCallBetweenHandler
{
    public static async Task<IResult> PostAsync(int id, IConnectionPool pool, HttpClient payments, CancellationToken cancellationToken)
    {
        long version;
        await using (var lease = await pool.RentAsync(cancellationToken))
        {
            version = await lease.Connection.ExecuteScalarAsync<long>("SELECT 1");
        }

        var answer = await payments.PostAsync($"/charge/{id}/{version}", null, cancellationToken);
        await using (var lease = await pool.RentAsync(cancellationToken))
        {
            await lease.Connection.ExecuteAsync("SELECT 2");
        }

        return Results.StatusCode((int)answer.StatusCode);
    }
}

internal static class StreamingHandler
{
    public static async IAsyncEnumerable<int> GetAsync(IConnectionPool pool, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellationToken)
    {
        await using var lease = await pool.RentAsync(cancellationToken);
        await using var command = lease.CreateCommand("SELECT id FROM orders");
        await using var reader = await command.ExecuteReaderAsync(cancellationToken);
        while (await reader.ReadAsync(cancellationToken))
        {
            yield return reader.GetInt32(0);
        }
    }
}

internal static class SynchronousHandler
{
    public static IResult Get(IConnectionPool pool)
    {
        using var lease = pool.RentAsync().Result; // expect: SFP0007
        using var command = lease.CreateCommand("SELECT 1");
        return Results.Ok(command.ExecuteScalar());
    }
}

internal static class TryHandler
{
    public static async Task<IResult> GetAsync(IConnectionPool pool)
    {
        if (!pool.TryRent(out var lease))
        {
            return Results.StatusCode(503);
        }

        await using (lease)
        {
            return Results.Ok(await lease.Connection.ExecuteScalarAsync<int>("SELECT 1"));
        }
    }
}
