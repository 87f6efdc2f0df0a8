using Npgsql;
using SafePool.Tests.Integration;
using static SafePool.Tests.Isolation.Mutation;

namespace SafePool.Tests.Isolation;

/// <summary>Everything that a lease is known to be able to leave behind.</summary>
internal static class Mutations
{
    private const string OwnLock = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND mode";

    /// <summary>What a later holder could see of an earlier one.</summary>
    public static IReadOnlyList<Mutation> ForTheNext { get; } =
    [
        Sql("a setting (`SET work_mem`)", "SET work_mem = '7777kB'", "current_setting('work_mem') = '7777kB'"),
        Sql(
            "a setting by function (`set_config`)",
            "SELECT set_config('statement_timeout', '77777s', false)",
            "current_setting('statement_timeout') = '77777s'"),
        Sql("a setting that the driver follows (`SET TimeZone`)", "SET TimeZone = 'Antarctica/Troll'", "current_setting('TimeZone') = 'Antarctica/Troll'"),
        Sql("`SET search_path`", "SET search_path = elsewhere, public", "to_regclass('only_elsewhere') IS NOT NULL"),
        Sql(
            "`SET SESSION CHARACTERISTICS`",
            "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ",
            "current_setting('transaction_isolation') = 'repeatable read'"),
        Sql("a custom variable (`SET app.tenant`)", "SET app.tenant = 'acme'", "current_setting('app.tenant', true) <> ''"),
        Sql("`SET ROLE`", "SET ROLE pg_monitor", "current_user <> session_user"),
        Sql("`SET SESSION AUTHORIZATION`", "SET SESSION AUTHORIZATION pg_read_all_stats", "session_user = 'pg_read_all_stats'"),
        Sql("a temporary table", "CREATE TEMP TABLE litter (id int)", "EXISTS (SELECT FROM pg_class WHERE relnamespace = pg_my_temp_schema())"),
        Sql(
            "a function in `pg_temp`",
            "CREATE FUNCTION pg_temp.litter() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "EXISTS (SELECT FROM pg_proc WHERE pronamespace = pg_my_temp_schema())"),
        Sql("an advisory lock", "SELECT pg_advisory_lock(pg_backend_pid())", $"EXISTS ({OwnLock} = 'ExclusiveLock')"),
        Sql("a shared advisory lock", "SELECT pg_advisory_lock_shared(0, pg_backend_pid())", $"EXISTS ({OwnLock} = 'ShareLock')"),
        Sql("`LISTEN`", "LISTEN litter", "EXISTS (SELECT FROM pg_listening_channels())"),
        Sql("a statement prepared by SQL (`PREPARE`)", "PREPARE litter AS SELECT 1", "EXISTS (SELECT FROM pg_prepared_statements WHERE from_sql)"),
        By("a statement prepared by Npgsql", Probes.PrepareAsync, "EXISTS (SELECT FROM pg_prepared_statements WHERE NOT from_sql)"),
        Sql("a cursor `WITH HOLD`", "DECLARE litter CURSOR WITH HOLD FOR SELECT 1", "EXISTS (SELECT FROM pg_cursors WHERE is_holdable)"),
        Sql("`currval` of a sequence", "SELECT nextval('audit.tickets')", "audit.knows_currval()"),
        Sql("`lastval`", "SELECT nextval('audit.tickets')", "audit.knows_lastval()"),
        Transaction("an open transaction, begun by SQL", connection => connection.DoAsync("BEGIN; SELECT 1")),
        Transaction("an open transaction, begun by Npgsql", BeginAsync),
        Transaction("a failed transaction", FailAsync),
        Sql("rows of an open transaction", "BEGIN; INSERT INTO audit.notes VALUES (1)", "EXISTS (SELECT FROM audit.notes)"),
        Sql("`SET LOCAL` in an open transaction", "BEGIN; SET LOCAL lock_timeout = '77777s'", "current_setting('lock_timeout') = '77777s'"),
        Sql(
            "a lock of an open transaction",
            "BEGIN; SELECT pg_advisory_xact_lock_shared(1, pg_backend_pid())",
            $"EXISTS ({OwnLock} = 'ShareLock' AND classid = 1)"),
    ];

    /// <summary>What shows before the next holder has run its first command, or to others while nobody holds the session.</summary>
    public static IReadOnlyList<Mutation> AtRest { get; } =
    [
        new("an advisory lock that keeps others out while the session is at rest")
        {
            DoAsync = connection => connection.DoAsync("SELECT pg_advisory_lock(4711)"),
            SeenAsync = (connection, _) => connection.AskAsync<bool>($"SELECT EXISTS ({OwnLock} = 'ExclusiveLock')"),
            SeenAtRestAsync = database => database.AskAsync<bool>("SELECT NOT pg_try_advisory_xact_lock(4711)"),
        },
        new("a notification that arrives while the session is at rest")
        {
            DoAsync = connection => connection.DoAsync("LISTEN litter"),
            SeenAsync = async (connection, _) => (await Probes.NotificationsAsync(connection)).Count > 0,
            SeenAtRestAsync = async database =>
            {
                await database.NotifyAndDeliverAsync();
                return false;
            },
        },
        new("the time zone that Npgsql reports before the first command (`Timezone`)")
        {
            DoAsync = connection => connection.DoAsync("SET TimeZone = 'Antarctica/Troll'"),
            SeenAsync = (connection, _) => Task.FromResult(connection.Timezone == "Antarctica/Troll"),
        },
    ];

    /// <summary>What PostgreSQL has no words to undo: a session keeps it for life.</summary>
    public static IReadOnlyList<Mutation> ForLife { get; } =
    [
        Sql("that a custom variable exists (`''` instead of null)", "SET app.tenant = 'acme'", "current_setting('app.tenant', true) IS NOT NULL"),
        Sql("that there was something temporary (`pg_my_temp_schema()`)", "CREATE TEMP TABLE litter (id int)", "pg_my_temp_schema() <> 0"),
        new("the seed of `random()` (`setseed`)")
        {
            DoAsync = connection => connection.DoAsync("SELECT setseed(0.25)"),
            SeenAsync = async (connection, database)
                => await connection.AskAsync<double>("SELECT random()") == await database.AskAsync<double>("SELECT random() FROM setseed(0.25)"),
        },
        new("a replication origin (`pg_replication_origin_session_setup`)")
        {
            DoAsync = connection => connection.DoAsync(
                """
                SELECT pg_replication_origin_create('audit' || pg_backend_pid());
                SELECT pg_replication_origin_session_setup('audit' || pg_backend_pid());
                """),
            SeenAsync = (connection, _) => connection.AskAsync<bool>("SELECT pg_replication_origin_session_is_setup()"),
        },
    ];

    private static async Task BeginAsync(NpgsqlConnection connection)
    {
        _ = await connection.BeginTransactionAsync();
        await connection.DoAsync("SELECT 1");
    }

    private static async Task FailAsync(NpgsqlConnection connection)
    {
        await connection.DoAsync("BEGIN");
        try
        {
            await connection.DoAsync("SELECT 1 / 0");
        }
        catch (PostgresException error) when (error.SqlState == PostgresErrorCodes.DivisionByZero)
        {
            // As wanted: nothing but a rollback is accepted from here on.
        }
    }
}
