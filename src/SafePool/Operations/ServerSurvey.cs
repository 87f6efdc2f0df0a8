using System.Collections.Immutable;
using Npgsql;
using SafePool.Driver;
using SafePool.Driver.Control;

namespace SafePool.Operations;

/// <summary>One look at the server's limits and at the sessions of its clients, in one round trip.</summary>
internal sealed record ServerSurvey
{
    // One statement, because a batch cannot be marked as the pool's own (Housekeeping). The limits of role and database do not bind superusers.
    // The kind of a backend is hidden from an ordinary role; that of a worker of the server's own has no user, and a sender of WAL no database.
    private const string Sql =
        """
        SELECT limits.*, clients.* FROM (
            SELECT pg_backend_pid() AS asking,
                   current_setting('max_connections')::int AS most,
                   current_setting('superuser_reserved_connections')::int AS for_superusers,
                   coalesce(current_setting('reserved_connections', true), '0')::int AS for_roles,
                   CASE WHEN rolsuper THEN -1 ELSE (SELECT datconnlimit FROM pg_database WHERE datname = current_database()) END AS of_database,
                   CASE WHEN rolsuper THEN -1 ELSE rolconnlimit END AS of_role
            FROM pg_roles WHERE rolname = session_user) AS limits
        LEFT JOIN (
            SELECT pid, datname::text, application_name, usename::text, state,
                   CASE WHEN state_change IS NOT NULL THEN greatest(extract(epoch FROM moment - state_change), 0)::float8 END AS state_age, backend_start, state_change,
                   (round(extract(epoch FROM backend_start) * 1000000)::int8) AS started_at
            FROM pg_stat_activity, (SELECT clock_timestamp() AS moment OFFSET 0) AS one_for_all
            WHERE datid IS NOT NULL AND usesysid IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend') AS clients ON true
        ORDER BY state_change NULLS LAST, pid
        """;

    // Columns of the limits, before those of the clients.
    private const int Clients = 6;

    public required Version ServerVersion { get; init; }

    /// <summary>No pooler stands in between.</summary>
    public required bool IsDirect { get; init; }

    public required int MaxConnections { get; init; }

    public required int ReservedForSuperusers { get; init; }

    public required int ReservedForRoles { get; init; }

    public required int? DatabaseLimit { get; init; }

    public required int? RoleLimit { get; init; }

    /// <summary>Those first that have been in their state for the longest.</summary>
    public required ImmutableArray<Backend> Backends { get; init; }

    /// <param name="control">Open, and beside the pool.</param>
    /// <param name="own">The sessions of the pool.</param>
    /// <param name="application">The pool's application name, as it says it; null when it has none.</param>
    /// <param name="cancellationToken">Gives up.</param>
    public static async Task<ServerSurvey> TakeAsync(
        ControlSession control, OwnSessions own, string? application, CancellationToken cancellationToken)
    {
        var server = control.Connection;
        var command = Housekeeping.Command(Sql, server);
        await using var commandDisposal = command.ConfigureAwait(false);
        var reader = await command.ExecuteReaderAsync(cancellationToken).ConfigureAwait(false);
        await using var readerDisposal = reader.ConfigureAwait(false);
        await reader.ReadAsync(cancellationToken).ConfigureAwait(false);
        var asking = reader.GetInt32(0);
        var survey = new ServerSurvey
        {
            ServerVersion = server.PostgreSqlVersion,
            IsDirect = asking == server.ProcessID,
            MaxConnections = reader.GetInt32(1),
            ReservedForSuperusers = reader.GetInt32(2),
            ReservedForRoles = reader.GetInt32(3),
            DatabaseLimit = LimitAt(reader, 4),
            RoleLimit = LimitAt(reader, 5),
            Backends = [],
        };
        var name = application is null ? null : ApplicationNames.OnServer(application, survey.ServerVersion);
        var backends = ImmutableArray.CreateBuilder<Backend>();
        for (var hasMore = !reader.IsDBNull(Clients); hasMore; hasMore = await reader.ReadAsync(cancellationToken).ConfigureAwait(false))
        {
            backends.Add(BackendAt(reader, asking, survey.IsDirect ? own : null, control.Server, name));
        }

        return survey with { Backends = backends.ToImmutable() };
    }

    private static Backend BackendAt(NpgsqlDataReader reader, int asking, OwnSessions? own, ServerIdentity? server, string? name)
    {
        var processId = reader.GetInt32(Clients);
        var application = TextAt(reader, Clients + 2);
        var session = new ServerSession
        {
            ProcessId = processId,
            Database = TextAt(reader, Clients + 1),
            Application = application,
            Role = TextAt(reader, Clients + 3),
            State = TextAt(reader, Clients + 4),
            StateAge = reader.IsDBNull(Clients + 5) ? null : TimeSpan.FromSeconds(Math.Max(0, reader.GetDouble(Clients + 5))),
            Owner = processId == asking && IsBeside(application) ? SessionOwner.ControlConnection
                : own?.MayHave(server, processId, reader.IsDBNull(Clients + 8) ? null : reader.GetInt64(Clients + 8)) == true ? SessionOwner.ThisPool
                : name is not null && application == name ? SessionOwner.ThisApplication
                : SessionOwner.Others,
        };
        return new Backend(session, MomentAt(reader, Clients + 6), MomentAt(reader, Clients + 7));
    }

    /// <summary>Otherwise one of the pool's own connections asks.</summary>
    private static bool IsBeside(string? application) => application?.EndsWith(ControlConnection.NameSuffix, StringComparison.Ordinal) == true;

    private static int? LimitAt(NpgsqlDataReader reader, int column) => reader.GetInt32(column) is >= 0 and var limit ? limit : null;

    private static string? TextAt(NpgsqlDataReader reader, int column) => reader.IsDBNull(column) ? null : reader.GetString(column);

    private static DateTime? MomentAt(NpgsqlDataReader reader, int column) => reader.IsDBNull(column) ? null : reader.GetDateTime(column);
}
