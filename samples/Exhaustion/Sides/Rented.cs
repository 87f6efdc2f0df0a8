using Npgsql;

namespace SafePool.Samples.Exhaustion.Sides;

/// <summary>A connection of either side. Whoever loses it has lost what returns the connection.</summary>
/// <param name="connection">The open connection.</param>
/// <param name="owner">What has to be disposed: the connection itself, or the lease.</param>
internal sealed class Rented(NpgsqlConnection connection, IDisposable owner) : IDisposable
{
    public NpgsqlConnection Connection => connection;

    public async Task ExecuteAsync(string sql, CancellationToken cancellationToken = default)
    {
        await using var command = new NpgsqlCommand(sql, connection);
        await command.ExecuteNonQueryAsync(cancellationToken);
    }

    public void Dispose() => owner.Dispose();
}
