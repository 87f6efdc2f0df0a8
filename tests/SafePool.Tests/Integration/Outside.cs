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

    /// <summary>Ends sessions as an administrator would, and returns when they have ended, which PostgreSQL 13 cannot wait for itself.</summary>
    /// <param name="which">Of <c>pg_stat_activity</c>: "pid = 4711".</param>
    public async Task TerminateAsync(string which)
    {
        var ended = await AskAsync<int[]>(
            $"SELECT coalesce(array_agg(CASE WHEN pg_terminate_backend(pid) THEN pid ELSE pid END), '{{}}') FROM pg_stat_activity WHERE {which}");
        await Eventually.True(
            () => AskAsync<bool>($"SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = ANY ('{{{string.Join(',', ended)}}}'))"),
            "the sessions have ended");
    }

    public async Task DoAsync(string sql)
    {
        await using var connection = new NpgsqlConnection(_unpooled);
        await connection.OpenAsync();
        await connection.DoAsync(sql);
    }
}
