using Npgsql;

namespace SafePool.LoadTests.Contenders;

/// <summary>A connection of either side.</summary>
/// <param name="connection">The open connection.</param>
/// <param name="owner">What has to be disposed: the connection itself, or the lease.</param>
internal sealed class Rented(NpgsqlConnection connection, IAsyncDisposable owner) : IAsyncDisposable
{
    public async Task ExecuteAsync(string sql)
    {
        await using var command = new NpgsqlCommand(sql, connection);
        await command.ExecuteScalarAsync();
    }

    public ValueTask DisposeAsync() => owner.DisposeAsync();
}
