using Npgsql;
using SafePool.ChaosTests.Invariants;

namespace SafePool.ChaosTests.Load;

/// <summary>A question that only this lease has asked, and that also tells what an earlier lease has left in the session.</summary>
/// <remarks>An answer to another question is the trace of a session that got out of step; a late cancel, or a result that nobody read, could do that.</remarks>
internal static class Question
{
    /// <summary>What leases leave behind on purpose, for the reset to take away.</summary>
    public const string Trace = "SET chaos.trace = 'left'; SELECT pg_advisory_lock_shared(4711)";

    private static int _last;

    public static async Task AskAsync(Session session, bool isReset, CancellationToken cancellationToken)
    {
        var number = Interlocked.Increment(ref _last);
        await using var command = Create(session, number);
        await using var reader = await command.ExecuteReaderAsync(cancellationToken);
        if (!await reader.ReadAsync(cancellationToken))
        {
            throw new WrongAnswerException("a question was answered with no row");
        }

        Compare(reader, number, isReset);
    }

    public static void Ask(Session session, bool isReset)
    {
        var number = Interlocked.Increment(ref _last);
        using var command = Create(session, number);
        using var reader = command.ExecuteReader();
        if (!reader.Read())
        {
            throw new WrongAnswerException("a question was answered with no row");
        }

        Compare(reader, number, isReset);
    }

    private static NpgsqlCommand Create(Session session, int number)
    {
        const string Sql =
            """
            SELECT $1, coalesce(current_setting('chaos.trace', true), ''), pg_current_xact_id_if_assigned() IS NULL,
                   (SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory')
            """;
        var command = session.CreateCommand(Sql);
        command.Parameters.Add(new NpgsqlParameter<int> { TypedValue = number });
        return command;
    }

    private static void Compare(NpgsqlDataReader reader, int number, bool isReset)
    {
        if (reader.FieldCount != 4 || reader.GetInt32(0) != number)
        {
            throw new WrongAnswerException($"question {number} was answered with {reader.GetValue(0)}");
        }

        if (!reader.GetBoolean(2))
        {
            throw new WrongAnswerException("the session was in somebody else's transaction");
        }

        if (isReset && (reader.GetString(1).Length > 0 || reader.GetInt64(3) > 0))
        {
            throw new WrongAnswerException($"the session still had somebody else's setting '{reader.GetString(1)}' and {reader.GetInt64(3)} advisory locks");
        }
    }
}
