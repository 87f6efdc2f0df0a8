using Npgsql;

namespace SafePool.Driver.Control;

/// <summary>One look at <c>pg_stat_activity</c>. The text of queries is left out: it may hold what should not be logged.</summary>
internal static class ActivityQuery
{
    private const string Sql =
        """
        SELECT pid, (round(extract(epoch FROM backend_start) * 1000000)::int8), state, nullif(concat_ws(': ', wait_event_type, wait_event), ''),
               extract(epoch FROM clock_timestamp() - state_change)::float8,
               extract(epoch FROM clock_timestamp() - query_start)::float8,
               extract(epoch FROM clock_timestamp() - xact_start)::float8
        FROM pg_stat_activity WHERE pid = ANY($1) AND state IS NOT NULL AND backend_start IS NOT NULL
        """;

    /// <summary>By process id and <c>backend_start</c>: a process id is used again by the next session.</summary>
    public static async Task<IReadOnlyDictionary<(int ProcessId, long StartedAt), BackendActivity>> RunAsync(
        NpgsqlConnection server, int[] processIds, CancellationToken cancellationToken)
    {
        var command = Housekeeping.Command(Sql, server);
        await using var commandDisposal = command.ConfigureAwait(false);
        command.Parameters.Add(new NpgsqlParameter<int[]> { TypedValue = processIds });
        var reader = await command.ExecuteReaderAsync(cancellationToken).ConfigureAwait(false);
        await using var readerDisposal = reader.ConfigureAwait(false);
        var found = new Dictionary<(int, long), BackendActivity>();
        while (await reader.ReadAsync(cancellationToken).ConfigureAwait(false))
        {
            found[(reader.GetInt32(0), reader.GetInt64(1))] = new BackendActivity
            {
                State = reader.GetString(2),
                WaitEvent = reader.IsDBNull(3) ? null : reader.GetString(3),
                StateAge = AgeAt(reader, 4) ?? TimeSpan.Zero,
                QueryAge = AgeAt(reader, 5),
                TransactionAge = AgeAt(reader, 6),
            };
        }

        return found;
    }

    private static TimeSpan? AgeAt(NpgsqlDataReader reader, int column)
        => reader.IsDBNull(column) ? null : TimeSpan.FromSeconds(Math.Max(0, reader.GetDouble(column)));
}
