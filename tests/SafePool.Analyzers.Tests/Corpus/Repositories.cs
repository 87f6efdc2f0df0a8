// Repositories, units of work, factories.
using Dapper;

internal sealed class OrderRepository(IConnectionPool pool)
{
    public async Task<int?> FindAsync(int id, CancellationToken cancellationToken)
    {
        await using var lease = await pool.RentAsync(cancellationToken);
        await using var command = lease.CreateCommand("SELECT total FROM orders WHERE id = $1");
        command.Parameters.AddWithValue(id);
        return (int?)await command.ExecuteScalarAsync(cancellationToken);
    }

    public async Task<bool> ExistsAsync(int id, CancellationToken cancellationToken)
        => await FindAsync(id, cancellationToken) is not null;
}

internal sealed class NestingRepository(IConnectionPool pool)
{
    public async Task MoveAsync(int id, CancellationToken cancellationToken)
    {
        await using var lease = await pool.RentAsync(cancellationToken);
        await lease.Connection.ExecuteAsync("UPDATE a SET b = 1");
        await WriteAuditAsync(id, cancellationToken); // expect: SFP0004
    }

    private async Task WriteAuditAsync(int id, CancellationToken cancellationToken)
    {
        await using var lease = await pool.RentAsync(cancellationToken);
        await lease.Connection.ExecuteAsync("INSERT INTO audit VALUES (@id)", new { id });
    }
}

internal sealed class HandingOnRepository(IConnectionPool pool)
{
    public async Task MoveAsync(int id, CancellationToken cancellationToken)
    {
        await using var lease = await pool.RentAsync(cancellationToken);
        await lease.Connection.ExecuteAsync("UPDATE a SET b = 1");
        await WriteAuditAsync(lease.Connection, id);
    }

    private static Task WriteAuditAsync(NpgsqlConnection connection, int id) => connection.ExecuteAsync("INSERT INTO audit VALUES (@id)", new { id });
}

internal sealed class LendingRepository(IConnectionPool pool)
{
    public async Task<NpgsqlConnection> ConnectionAsync(CancellationToken cancellationToken)
    {
        await using var lease = await pool.RentAsync(cancellationToken);
        return lease.Connection; // expect: SFP0002
    }

    public ValueTask<NpgsqlConnection> OwnedAsync(CancellationToken cancellationToken) => pool.OpenConnectionAsync(cancellationToken);
}

internal sealed class TaskReturningRepository(IConnectionPool pool)
{
    public Task<int> CountAsync()
    {
        using var lease = pool.Rent();
        return lease.Connection.ExecuteScalarAsync<int>("SELECT 1"); // expect: SFP0002
    }
}

internal sealed class UnitOfWork(IConnectionPool pool) : IAsyncDisposable
{
    private Lease _lease;
    private NpgsqlTransaction? _transaction;

    public async Task BeginAsync(CancellationToken cancellationToken)
    {
        _lease = await pool.RentAsync(cancellationToken);
        _transaction = await _lease.BeginTransactionAsync(cancellationToken: cancellationToken);
    }

    public async ValueTask DisposeAsync()
    {
        if (_transaction is not null)
        {
            await _transaction.DisposeAsync();
        }

        await _lease.DisposeAsync();
    }
}

internal sealed class KeepingService(IConnectionPool pool)
{
    private Lease _lease; // expect: SFP0003

    public void Start() => _lease = pool.Rent();

    public long Id => _lease.Id;
}

internal sealed class UndisposedOwner(IConnectionPool pool) : IDisposable
{
    private NpgsqlConnection? _connection; // expect: SFP0003

    public void Open() => _connection = pool.OpenConnection();

    public void Dispose()
    {
    }
}

internal static class LeaseFactory
{
    public static async Task<Lease> RentForReportsAsync(IConnectionPool pool)
    {
        var lease = await pool.RentAsync(new RentOptions { AcquireTimeout = TimeSpan.FromSeconds(30) });
        try
        {
            await lease.Connection.ExecuteAsync("SET work_mem = '64MB'");
            return lease;
        }
        catch
        {
            await lease.DisposeAsync();
            throw;
        }
    }
}

internal sealed class SearchRepository(IConnectionPool pool)
{
    public async Task<int> FirstOverAsync(int limit, CancellationToken cancellationToken)
    {
        await using var lease = await pool.RentAsync(cancellationToken);
        await using var command = lease.CreateCommand("SELECT total FROM orders");
        await using var reader = await command.ExecuteReaderAsync(cancellationToken);
        while (await reader.ReadAsync(cancellationToken))
        {
            if (reader.GetInt32(0) > limit)
            {
                return reader.GetInt32(0); // expect: SFP0010
            }
        }

        return -1;
    }
}

internal sealed class CancellingSearchRepository(IConnectionPool pool)
{
    public async Task<int> FirstOverAsync(int limit, CancellationToken cancellationToken)
    {
        await using var lease = await pool.RentAsync(cancellationToken);
        await using var command = lease.CreateCommand("SELECT total FROM orders");
        await using var reader = await command.ExecuteReaderAsync(cancellationToken);
        while (await reader.ReadAsync(cancellationToken))
        {
            if (reader.GetInt32(0) > limit)
            {
                lease.Cancel();
                return limit;
            }
        }

        return -1;
    }
}

internal sealed class ManualRepository(IConnectionPool pool)
{
    public void Run()
    {
        var lease = pool.Rent();
        try
        {
            using var command = lease.CreateCommand("SELECT 1");
            command.ExecuteNonQuery();
        }
        finally
        {
            lease.Dispose();
        }
    }
}

internal sealed class LateTryRepository(IConnectionPool pool)
{
    public void Run(string text)
    {
        var lease = pool.Rent(); // expect: SFP0001
        var number = int.Parse(text, null);
        try
        {
            Console.WriteLine(lease.Id + number);
        }
        finally
        {
            lease.Dispose();
        }
    }
}

internal sealed class LeaseList(IConnectionPool pool)
{
    public async Task UseManyAsync(CancellationToken cancellationToken)
    {
        var leases = new List<Lease>();
        try
        {
            for (var i = 0; i < 3; i++)
            {
                leases.Add(await pool.RentAsync(cancellationToken));
            }
        }
        finally
        {
            leases.ForEach(lease => lease.Dispose());
        }
    }
}
