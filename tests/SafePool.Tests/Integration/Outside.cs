using Npgsql;
using SafePool.TestKit;

namespace SafePool.Tests.Integration;

/// <summary>Looks at a server from outside of any pool.</summary>
internal sealed class Outside(string server)
{
    private readonly string _unpooled =
        new NpgsqlConnectionStringBuilder(server) { Pooling = false, ApplicationName = "itest-outside" }.ConnectionString;

    public static async Task<string> SharedServerAsync()
    {
        await using var database = await TestDatabase.AcquireAsync();
        return database.ConnectionString;
    }

    public static async Task<Outside> OfSharedServerAsync() => new(await SharedServerAsync());

    public async Task<T> AskAsync<T>(string sql)
    {
        await using var connection = new NpgsqlConnection(_unpooled);
        await connection.OpenAsync();
        return await connection.AskAsync<T>(sql);
    }

    public async Task DoAsync(string sql)
    {
        await using var connection = new NpgsqlConnection(_unpooled);
        await connection.OpenAsync();
        await connection.DoAsync(sql);
    }
}
