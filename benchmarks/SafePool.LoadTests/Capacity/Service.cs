using Npgsql;

namespace SafePool.LoadTests.Capacity;

/// <summary>What answers requests: a pool, and the way in which it is asked.</summary>
/// <param name="Name">What the table calls it.</param>
/// <param name="AnswerAsync">One request, from the rent to the return.</param>
/// <param name="Pool">What to dispose at the end.</param>
internal sealed record Service(string Name, Func<Task<Answer>> AnswerAsync, IAsyncDisposable Pool) : IAsyncDisposable
{
    /// <param name="connectionString">What is the same for all.</param>
    /// <param name="query">What a request does.</param>
    /// <param name="budget">How long it may wait for its connection.</param>
    public static IReadOnlyList<Func<Service>> All(string connectionString, string query, TimeSpan budget)
        => [() => Raw(connectionString, query, budget), () => Throwing(connectionString, query, budget), () => Telling(connectionString, query, budget)];

    public ValueTask DisposeAsync() => Pool.DisposeAsync();

    private static Service Raw(string connectionString, string query, TimeSpan budget)
    {
        // Npgsql counts in whole seconds.
        var raw = NpgsqlDataSource.Create(new NpgsqlConnectionStringBuilder(connectionString) { Timeout = (int)budget.TotalSeconds }.ConnectionString);
        return new Service("raw Npgsql", AnswerAsync, raw);

        async Task<Answer> AnswerAsync()
        {
            NpgsqlConnection connection;
            try
            {
                connection = await raw.OpenConnectionAsync();
            }
            catch (NpgsqlException)
            {
                return Answer.Refused;
            }

            await using (connection)
            {
                return await AskAsync(connection, query);
            }
        }
    }

    private static Service Throwing(string connectionString, string query, TimeSpan budget)
    {
        var pool = Pooled(connectionString, budget);
        return new Service("SafePool, RentAsync", AnswerAsync, pool);

        async Task<Answer> AnswerAsync()
        {
            try
            {
                await using var lease = await pool.RentAsync();
                return await AskAsync(lease.Connection, query);
            }
            catch (PoolException)
            {
                return Answer.Refused;
            }
        }
    }

    private static Service Telling(string connectionString, string query, TimeSpan budget)
    {
        var pool = Pooled(connectionString, budget);
        return new Service("SafePool, TryRentAsync", AnswerAsync, pool);

        async Task<Answer> AnswerAsync()
        {
            await using var outcome = await pool.TryRentAsync();
            return outcome.Succeeded ? await AskAsync(outcome.Lease.Connection, query) : Answer.Refused;
        }
    }

    private static ConnectionPool Pooled(string connectionString, TimeSpan budget)
        => ConnectionPool.Create(connectionString, options => (options.Name, options.AcquireTimeout) = ("capacity", budget));

    private static async Task<Answer> AskAsync(NpgsqlConnection connection, string query)
    {
        try
        {
            await using var command = new NpgsqlCommand(query, connection);
            await command.ExecuteScalarAsync();
            return Answer.Served;
        }
        catch (NpgsqlException)
        {
            return Answer.Failed;
        }
    }
}
