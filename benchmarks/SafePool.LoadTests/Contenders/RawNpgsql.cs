using Npgsql;

namespace SafePool.LoadTests.Contenders;

internal sealed class RawNpgsql(string connectionString) : IContender
{
    private readonly NpgsqlDataSource _dataSource = NpgsqlDataSource.Create(connectionString);

    public async ValueTask<Rented> RentAsync()
    {
        var connection = await _dataSource.OpenConnectionAsync();
        return new Rented(connection, connection);
    }

    public ValueTask DisposeAsync() => _dataSource.DisposeAsync();
}
