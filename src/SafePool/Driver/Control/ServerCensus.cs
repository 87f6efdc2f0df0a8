using System.Globalization;
using Npgsql;

namespace SafePool.Driver.Control;

/// <summary>How many connections a server has room for, and who has them.</summary>
internal sealed record ServerCensus
{
    // What others do is hidden from an ordinary role, their application's name too; whose they are is not. The limits of role and database do not bind superusers.
    private const string Sql =
        """
        SELECT current_setting('max_connections')::int,
               current_setting('superuser_reserved_connections')::int + coalesce(current_setting('reserved_connections', true), '0')::int,
               CASE WHEN rolsuper THEN -1 ELSE (SELECT datconnlimit FROM pg_database WHERE datname = current_database()) END,
               CASE WHEN rolsuper THEN -1 ELSE rolconnlimit END,
               pg_backend_pid(),
               ARRAY(SELECT format('%s %s', count(*), coalesce(nullif(application_name, ''), 'of ' || usename, 'of nobody known'))
                     FROM pg_stat_activity WHERE datid IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend'
                     GROUP BY coalesce(nullif(application_name, ''), 'of ' || usename, 'of nobody known')
                     ORDER BY count(*) DESC LIMIT 5)
        FROM pg_roles WHERE rolname = session_user
        """;

    public required int MaxConnections { get; init; }

    /// <summary>Kept by the server for superusers and the like.</summary>
    public required int Reserved { get; init; }

    /// <summary>Of the database; null for no limit.</summary>
    public required int? DatabaseLimit { get; init; }

    /// <summary>Of the role; null for no limit.</summary>
    public required int? RoleLimit { get; init; }

    /// <summary>No pooler stands in between, whose limits would be the ones that count.</summary>
    public required bool IsDirect { get; init; }

    /// <summary>How many connections each application has, the most first.</summary>
    public required IReadOnlyList<string> Users { get; init; }

    /// <summary>How many connections an ordinary role may have in all.</summary>
    public int Room => Math.Min(MaxConnections - Reserved, Math.Min(DatabaseLimit ?? int.MaxValue, RoleLimit ?? int.MaxValue));

    public string Limits
    {
        get
        {
            var database = DatabaseLimit is { } ofDatabase ? string.Create(CultureInfo.InvariantCulture, $", the database is limited to {ofDatabase}") : "";
            var role = RoleLimit is { } ofRole ? string.Create(CultureInfo.InvariantCulture, $", the role to {ofRole}") : "";
            return string.Create(CultureInfo.InvariantCulture, $"max_connections is {MaxConnections} with {Reserved} reserved{database}{role}.");
        }
    }

    public static async Task<ServerCensus?> TakeAsync(NpgsqlConnection server, CancellationToken cancellationToken)
    {
        var command = Housekeeping.Command(Sql, server);
        await using var commandDisposal = command.ConfigureAwait(false);
        var reader = await command.ExecuteReaderAsync(cancellationToken).ConfigureAwait(false);
        await using var readerDisposal = reader.ConfigureAwait(false);
        await reader.ReadAsync(cancellationToken).ConfigureAwait(false);
        return new ServerCensus
        {
            MaxConnections = reader.GetInt32(0),
            Reserved = reader.GetInt32(1),
            DatabaseLimit = LimitAt(reader, 2),
            RoleLimit = LimitAt(reader, 3),
            IsDirect = reader.GetInt32(4) == server.ProcessID,
            Users = await reader.GetFieldValueAsync<string[]>(5, cancellationToken).ConfigureAwait(false),
        };
    }

    public override string ToString() => $"On the server {Limits} Connections by application: {string.Join(", ", Users)}.";

    private static int? LimitAt(NpgsqlDataReader reader, int column) => reader.GetInt32(column) is >= 0 and var limit ? limit : null;
}
