using SafePool.ChaosTests.Invariants;

namespace SafePool.ChaosTests.Load;

/// <summary>What blocking callers do with a session.</summary>
internal sealed class BlockingUses(Random random, Round round)
{
    public void Use(Session session)
    {
        Question.Ask(session, round.Resets);
        Action<Session> use = random.Next(session.Lease is null ? 6 : 7) switch
        {
            0 => Sleep,
            1 => Transact,
            2 => LeaveTransaction,
            3 => Read,
            4 => CopyIn,
            6 => LeaveReader,
            _ => AskAgain,
        };
        round.Journal.Count($"use {use.Method.Name}, blocking");
        use(session);
    }

    private void AskAgain(Session session) => Question.Ask(session, isReset: false);

    private void Sleep(Session session) => Do(session, $"SELECT pg_sleep({random.Next(1, 400)} / 1000.0)");

    private void Transact(Session session)
    {
        using var transaction = session.Connection.BeginTransaction();
        Do(session, "CREATE TEMP TABLE basket (id int) ON COMMIT DROP");
        if (random.Percent(60))
        {
            transaction.Commit();
        }
    }

    private void LeaveTransaction(Session session) => Do(session, "BEGIN; CREATE TEMP TABLE basket (id int); " + Question.Trace);

    private void Read(Session session)
    {
        using var command = session.CreateCommand("SELECT i, repeat('x', 100) FROM generate_series(1, 20000) i");
        using var reader = command.ExecuteReader();
        for (var row = 1; row < random.Next(20_000) && reader.Read(); row++)
        {
            if (reader.GetInt32(0) != row)
            {
                throw new WrongAnswerException($"row {row} was {reader.GetInt32(0)}");
            }
        }
    }

    private void CopyIn(Session session)
    {
        Do(session, "CREATE TEMP TABLE IF NOT EXISTS goods (id int)");
        using var import = session.Connection.BeginBinaryImport("COPY goods FROM STDIN BINARY");
        for (var row = random.Next(3000); row >= 0; row--)
        {
            import.StartRow();
            import.Write(row);
        }

        if (random.Percent(60))
        {
            import.Complete();
        }
    }

    private void LeaveReader(Session session)
    {
        var reader = session.CreateCommand("SELECT generate_series(1, 1000000)").ExecuteReader();
        reader.Read();
    }

    private static void Do(Session session, string sql)
    {
        using var command = session.CreateCommand(sql);
        command.ExecuteNonQuery();
    }
}
