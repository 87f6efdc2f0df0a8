using Npgsql;
using SafePool.Options;

namespace SafePool.Driver.Hosts;

/// <summary>Asks a session for the role of its server.</summary>
/// <remarks>
/// What a server shows (<c>SHOW</c>) or reports of itself is governed by no grant; functions are, so they come last. Before PostgreSQL 14 a server neither shows nor reports that it is a standby.
/// </remarks>
internal static class RoleQuestion
{
    // What a transaction that begins now would be: in a fresh session the server's default.
    private const string Question =
        "SELECT CASE WHEN pg_is_in_recovery() THEN 's' WHEN current_setting('transaction_read_only') = 'on' THEN 'r' ELSE 'w' END";

    private const int FirstThatShows = 14;

    // What a standby answers to whoever asks for what only a primary has.
    private const string Recovering = PostgresErrorCodes.ObjectNotInPrerequisiteState;

    /// <summary>The role of a session that was asked who it is; where it may not be asked for that, what it reports of itself, or, where the role matters, shows.</summary>
    public static async ValueTask<HostRole> OfNewAsync(
        NpgsqlConnection connection, PhysicalConnection physical, PoolSettings settings, bool blocking, CancellationToken cancellationToken)
    {
        var session = physical.Identity;
        var role = (session.IsInRecovery, session.IsReadOnly) switch
        {
            (true, _) => HostRole.Standby,
            (false, true) => HostRole.ReadOnly,
            (false, false) => HostRole.ReadWrite,
            _ => physical.IsDirect ? Reported(connection) : HostRole.Unknown,
        };
        if (role == HostRole.Unknown && settings.Target != TargetSessionAttributes.Any)
        {
            role = await AskShownAsync(connection, settings.TimeoutForEachHost, blocking, cancellationToken).ConfigureAwait(false);
        }

        return role == HostRole.Unknown && session.IsInRecovery is false ? HostRole.ReadWrite : role;
    }

    /// <returns><see cref="HostRole.Unknown"/> when the server does not say it to this user.</returns>
    public static async ValueTask<HostRole> AskAsync(NpgsqlConnection connection, TimeSpan patience, bool blocking, CancellationToken cancellationToken)
    {
        var shows = connection.PostgreSqlVersion.Major >= FirstThatShows;
        var role = shows
            ? await AskShownAsync(connection, patience, blocking, cancellationToken).ConfigureAwait(false)
            : await AskFunctionAsync(connection, patience, blocking, cancellationToken).ConfigureAwait(false);
        return role != HostRole.Unknown ? role
            : shows ? await AskFunctionAsync(connection, patience, blocking, cancellationToken).ConfigureAwait(false)
            : await AskShownAsync(connection, patience, blocking, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>The same without a function: one round trip, two on a primary or an old server.</summary>
    public static async ValueTask<HostRole> AskShownAsync(NpgsqlConnection connection, TimeSpan patience, bool blocking, CancellationToken cancellationToken)
    {
        var standby = connection.PostgreSqlVersion.Major >= FirstThatShows ? await ShowAsync("in_hot_standby").ConfigureAwait(false) : null;
        return standby == "on" ? HostRole.Standby : (standby, await ShowAsync("transaction_read_only").ConfigureAwait(false)) switch
        {
            (_, "off") => HostRole.ReadWrite,
            ("off", "on") => HostRole.ReadOnly,

            // In recovery every transaction is read-only, whatever the default. Where that is the default as well, only a primary has a position to write at.
            (null, "on") => await ShowAsync("default_transaction_read_only").ConfigureAwait(false) == "off"
                ? HostRole.Standby
                : await AskWritePositionAsync(connection, patience, blocking, cancellationToken).ConfigureAwait(false),
            _ => HostRole.Unknown,
        };

        ValueTask<string?> ShowAsync(string name) => AskTextAsync(connection, $"SHOW {name}", patience, blocking, cancellationToken);
    }

    /// <summary>What the server has said of itself; null when it has not.</summary>
    public static bool? ReportedStandby(NpgsqlConnection? connection)
    {
        try
        {
            return connection?.PostgresParameters.TryGetValue("in_hot_standby", out var standby) is true ? standby == "on" : null;
        }
        catch (Exception)
        {
            // Read from another flow, while it closes or the server reports something.
            return null;
        }
    }

    /// <summary>What the server has reported of itself when the session began, or changed; <see cref="HostRole.Unknown"/> when it has not. A pooler may report what holds no more.</summary>
    public static HostRole Reported(NpgsqlConnection connection) => ReportedStandby(connection) switch
    {
        true => HostRole.Standby,
        false when connection.PostgresParameters.TryGetValue("default_transaction_read_only", out var readOnly) => readOnly == "on" ? HostRole.ReadOnly : HostRole.ReadWrite,
        _ => HostRole.Unknown,
    };

    /// <summary>Whether the server is in recovery. Null when it does not answer; never throws what the server says.</summary>
    public static async Task<bool?> IsOnStandbyAsync(NpgsqlConnection connection)
    {
        if (ReportedStandby(connection) is { } standby)
        {
            return standby;
        }

        try
        {
            return await AskAsync(connection, PoolSettings.ReturnPatience, blocking: false, CancellationToken.None).ConfigureAwait(false) switch
            {
                HostRole.Unknown => null,
                var role => role == HostRole.Standby,
            };
        }
        catch (Exception error) when (error is NpgsqlException or InvalidOperationException)
        {
            return null;
        }
    }

    private static async ValueTask<HostRole> AskFunctionAsync(NpgsqlConnection connection, TimeSpan patience, bool blocking, CancellationToken cancellationToken)
        => await AskTextAsync(connection, Question, patience, blocking, cancellationToken).ConfigureAwait(false) switch
        {
            "s" => HostRole.Standby,
            "r" => HostRole.ReadOnly,
            "w" => HostRole.ReadWrite,
            _ => HostRole.Unknown,
        };

    private static async ValueTask<HostRole> AskWritePositionAsync(NpgsqlConnection connection, TimeSpan patience, bool blocking, CancellationToken cancellationToken)
    {
        try
        {
            return await AskTextAsync(connection, "SELECT pg_current_wal_lsn()::text", patience, blocking, cancellationToken).ConfigureAwait(false) is null
                ? HostRole.Unknown
                : HostRole.ReadOnly;
        }
        catch (PostgresException recovering) when (recovering.SqlState == Recovering)
        {
            return HostRole.Standby;
        }
    }

    /// <summary>Null when the server objects to the question.</summary>
    private static async ValueTask<string?> AskTextAsync(
        NpgsqlConnection connection, string sql, TimeSpan patience, bool blocking, CancellationToken cancellationToken)
    {
        var command = Housekeeping.Command(sql, connection);
        await using var disposal = command.ConfigureAwait(false);

        // For those who block: nobody can cancel them.
        command.CommandTimeout = Math.Max(1, (int)Math.Ceiling(patience.TotalSeconds));
        try
        {
            return (blocking ? command.ExecuteScalar() : await command.ExecuteScalarAsync(cancellationToken).ConfigureAwait(false)) as string;
        }
        catch (PostgresException refused) when (refused.SqlState != Recovering && IdentityQuestion.IsRefusal(refused, connection))
        {
            return null;
        }
    }
}
