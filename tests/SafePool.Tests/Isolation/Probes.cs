using Npgsql;
using SafePool.Tests.Integration;

namespace SafePool.Tests.Isolation;

/// <summary>Looks whether a session was used before.</summary>
internal static class Probes
{
    // Wider than the probes of the mutations, and in one query: each is null when there is nothing, and otherwise says what there is.
    private static readonly (string Name, string Query)[] _nets =
    [
        ("settings", "SELECT string_agg(name || ' = ' || setting, ', ') FROM pg_settings WHERE source = 'session'"),
        ("a variable", "SELECT nullif(current_setting('app.tenant', true), '')"),
        ("another user", "SELECT nullif(session_user || ' as ' || current_user, 'postgres as postgres')"),
        (
            "something temporary",
            """
            SELECT string_agg(classid::regclass::text, ', ') FROM pg_depend
            WHERE refclassid = 'pg_namespace'::regclass AND refobjid = pg_my_temp_schema()
            """),
        ("advisory locks", "SELECT string_agg(mode, ', ') FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"),
        ("channels", "SELECT string_agg(channel, ', ') FROM pg_listening_channels() AS channel"),
        ("prepared statements", "SELECT string_agg(statement, '; ') FROM pg_prepared_statements"),
        ("cursors", "SELECT string_agg(name, ', ') FROM pg_cursors WHERE name <> ''"),
        ("a sequence", "SELECT 'currval' WHERE audit.knows_currval()"),
        ("any sequence", "SELECT 'lastval' WHERE audit.knows_lastval()"),
        ("a transaction that wrote", "SELECT pg_current_xact_id_if_assigned()::text"),
        ("rows that were never committed", "SELECT count(*)::text FROM audit.notes HAVING count(*) > 0"),
    ];

    private static readonly string _question = $"SELECT ARRAY[{string.Join(", ", _nets.Select(net => $"({net.Query})"))}]";

    /// <summary>All that a holder can see of earlier ones, in two round trips.</summary>
    public static async Task<IReadOnlyList<string>> SeenAsync(NpgsqlConnection connection)
    {
        var seen = new List<string>(await NotificationsAsync(connection, async () => await LookAsync(connection)));
        return await IsInTransactionAsync(connection) ? [.. seen, "a transaction"] : seen;
    }

    /// <summary>The notifications that come with the first command.</summary>
    public static Task<IReadOnlyList<string>> NotificationsAsync(NpgsqlConnection connection)
        => NotificationsAsync(connection, async () =>
        {
            await connection.DoAsync("SELECT 1");
            return [];
        });

    /// <summary>Whether the driver refuses to begin another transaction.</summary>
    public static async Task<bool> IsInTransactionAsync(NpgsqlConnection connection)
    {
        try
        {
            await using var probe = await connection.BeginTransactionAsync();
            return false;
        }
        catch (InvalidOperationException)
        {
            return true;
        }
    }

    /// <summary>Has Npgsql prepare a statement.</summary>
    public static async Task PrepareAsync(NpgsqlConnection connection)
    {
        await using var command = new NpgsqlCommand("SELECT 42", connection);
        await command.PrepareAsync();
    }

    private static async Task<IReadOnlyList<string>> LookAsync(NpgsqlConnection connection)
    {
        try
        {
            var caught = await connection.AskAsync<string?[]>(_question);
            return [.. _nets.Zip(caught).Where(pair => pair.Second is not null).Select(pair => $"{pair.First.Name}: {pair.Second}")];
        }
        catch (PostgresException error) when (error.SqlState == PostgresErrorCodes.InFailedSqlTransaction)
        {
            return ["a failed transaction"];
        }
    }

    private static async Task<IReadOnlyList<string>> NotificationsAsync(
        NpgsqlConnection connection, Func<Task<IReadOnlyList<string>>> lookAsync)
    {
        var heard = new List<string>();
        NotificationEventHandler hear = (_, notification) => heard.Add($"a notification on '{notification.Channel}'");
        connection.Notification += hear;
        var seen = await lookAsync();
        connection.Notification -= hear;
        return [.. seen, .. heard];
    }
}
