using Npgsql;

namespace SafePool.Tests.Integration;

/// <summary>Short words for what tests do on a session.</summary>
internal static class Sessions
{
    public static int Session(this Lease lease) => lease.Connection.ProcessID;

    public static async Task<T> AskAsync<T>(this NpgsqlConnection connection, string sql)
    {
        await using var command = new NpgsqlCommand(sql, connection);
        return (T)(await command.ExecuteScalarAsync())!;
    }

    public static async Task<T> AskAsync<T>(this Lease lease, string sql)
    {
        await using var command = lease.CreateCommand(sql);
        return (T)(await command.ExecuteScalarAsync())!;
    }

    public static async Task DoAsync(this NpgsqlConnection connection, string sql)
    {
        await using var command = new NpgsqlCommand(sql, connection);
        await command.ExecuteNonQueryAsync();
    }

    public static async Task DoAsync(this Lease lease, string sql)
    {
        await using var command = lease.CreateCommand(sql);
        await command.ExecuteNonQueryAsync();
    }

    public static T Ask<T>(this Lease lease, string sql)
    {
        using var command = lease.CreateCommand(sql);
        return (T)command.ExecuteScalar()!;
    }

    public static void Do(this Lease lease, string sql)
    {
        using var command = lease.CreateCommand(sql);
        command.ExecuteNonQuery();
    }

    /// <summary>Rents so many leases at once.</summary>
    public static async Task<Lease[]> RentAsync(this ConnectionPool pool, int leases, CancellationToken cancellationToken)
        => await Task.WhenAll(Enumerable.Range(0, leases).Select(_ => pool.RentAsync(cancellationToken).AsTask()));

    public static async Task ReturnAllAsync(this IEnumerable<Lease> leases)
    {
        foreach (var lease in leases)
        {
            await lease.DisposeAsync();
        }
    }

    /// <summary>Opens so many connections and puts them to rest.</summary>
    public static async Task FillAsync(this ConnectionPool pool, int connections, CancellationToken cancellationToken)
        => await (await pool.RentAsync(connections, cancellationToken)).ReturnAllAsync();
}
