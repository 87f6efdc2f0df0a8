using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.Identity;

/// <summary>Somebody else's session on the other server, in a long query, with the process id that the pool's session has on its own.</summary>
internal sealed class Stranger : IAsyncDisposable
{
    private readonly NpgsqlConnection _connection;
    private readonly Task _query;

    private Stranger(NpgsqlConnection connection)
    {
        _connection = connection;
        _query = connection.DoAsync("SELECT pg_sleep(600)");
    }

    /// <summary>Makes one with a given process id, which must not have been passed yet.</summary>
    public static async Task<Stranger> AtAsync(PostgresServer server, int processId)
    {
        var connection = await OpenAsync(server);
        while (connection.ProcessID < processId)
        {
            await connection.DisposeAsync();
            connection = await OpenAsync(server);
        }

        Assert.Equal(processId, connection.ProcessID);
        return new Stranger(connection);
    }

    /// <summary>Passes process ids of a server by: its next session has a higher one than any on the other.</summary>
    public static async Task PassIdsAsync(PostgresServer server, PostgresServer other)
    {
        int highest;
        await using (var connection = await OpenAsync(other))
        {
            highest = connection.ProcessID + 10;
        }

        for (var passed = 0; passed < highest;)
        {
            await using var connection = await OpenAsync(server);
            passed = connection.ProcessID;
        }
    }

    public void AssertUntouched()
    {
        Assert.False(_query.IsCompleted, $"a stranger's query has ended: {_query.Exception?.InnerException?.Message}");
        Assert.Equal(System.Data.ConnectionState.Open | System.Data.ConnectionState.Executing, _connection.FullState);
    }

    public async ValueTask DisposeAsync()
    {
        await using (var outside = new NpgsqlConnection($"{_connection.ConnectionString};Pooling=false"))
        {
            await outside.OpenAsync();
            await outside.AskAsync<bool>($"SELECT pg_terminate_backend({_connection.ProcessID})");
        }

        await Assert.ThrowsAnyAsync<NpgsqlException>(() => _query);
        await _connection.DisposeAsync();
    }

    private static async Task<NpgsqlConnection> OpenAsync(PostgresServer server)
    {
        var connection = new NpgsqlConnection($"{server.ConnectionString};Pooling=false;Application Name=stranger");
        await connection.OpenAsync();
        return connection;
    }
}
