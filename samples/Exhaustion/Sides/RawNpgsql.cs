using Npgsql;

namespace SafePool.Samples.Exhaustion.Sides;

internal sealed class RawNpgsql(string connectionString) : ISide
{
    private readonly NpgsqlDataSource _dataSource = NpgsqlDataSource.Create(connectionString);

    public long Recovered => 0;

    /// <summary>It has no word for a lost connection.</summary>
    public string? Warning => null;

    public async Task<Rented> RentAsync(string member, string file, int line)
    {
        var connection = await _dataSource.OpenConnectionAsync();
        return new Rented(connection, connection);
    }

    /// <summary>It makes no promise that could be broken.</summary>
    public Task<string?> FindLossAsync() => Task.FromResult<string?>(null);

    public ValueTask DisposeAsync() => _dataSource.DisposeAsync();
}
