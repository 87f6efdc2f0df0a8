using Microsoft.Extensions.Logging;
using Npgsql;
using SafePool.Options;
using SafePool.Telemetry;

namespace SafePool.Connections;

/// <summary>Finds out, with the first connection, what stands between the pool and its server, and settles what follows from it.</summary>
/// <remarks>Directly connected it asks only whether the timeouts are in force. Thread-safety: every member may be called from any thread; whoever is first settles the path.</remarks>
internal sealed class PathFinder(
    PoolSettings settings, ServerPath path, ServerHosts hosts, SessionGreeting greeting, TimeProvider clock, ILogger logger) : IDisposable
{
    private const int SurveySeconds = 1;

    private readonly PoolerSurvey _survey = new(settings, greeting, clock);
    private readonly SemaphoreSlim _turn = new(1, 1);
    private volatile string? _refusal;

    /// <summary>What an administrator runs so that timeouts are in force whatever stands in between.</summary>
    public static string Cure(IEnumerable<SessionTimeout> timeouts)
        => string.Join("; ", timeouts.Select(timeout => $"ALTER ROLE … SET {timeout.Parameter} = '{timeout.Milliseconds}ms'"));

    /// <summary>After an open that was refused for its start-up options: true when it is worth another attempt, without them.</summary>
    public bool TryDoWithoutOptions(PostgresException refused, ServerDataSource host, NpgsqlDataSource seen)
    {
        if (settings.Timeouts != TimeoutStrategy.Auto || PoolerErrors.KindOf(refused) != PoolerErrorKind.StartupParameterRefused)
        {
            return false;
        }

        // First, because with the other string somebody else may settle the path at once, and tells why.
        _refusal = refused.MessageText;
        return hosts.TryDoWithoutOptions(host, seen);
    }

    /// <summary>Settles the path with a connection that was just opened, unless somebody else does meanwhile.</summary>
    public async ValueTask ExploreAsync(
        NpgsqlConnection connection, ServerDataSource host, NpgsqlDataSource source, int backendId, bool blocking, CancellationToken cancellationToken)
    {
        if (backendId == connection.ProcessID)
        {
            if (hosts.TryWithOptions(host, source))
            {
                // The pooler that had refused them is gone: another connection, with them.
                _refusal = null;
                return;
            }

            await SettleAsync(connection, host, source, PathKind.Direct, blocking, cancellationToken).ConfigureAwait(false);
            return;
        }

        // One at a time, or they would take the pooler's free backends away from each other. Who blocks must not wait for ever for who needs a thread of the pool.
        var hasTurn = blocking
            ? _turn.Wait(_survey.Patience, CancellationToken.None)
            : await TakeTurnAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            if (path.IsKnown || source != host.Current)
            {
                return;
            }

            var kind = await _survey.FindKindAsync(connection, backendId, () => BuildSecond(host), blocking, cancellationToken).ConfigureAwait(false);
            await SettleAsync(connection, host, source, kind, blocking, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            if (hasTurn)
            {
                _turn.Release();
            }
        }
    }

    public void Dispose() => _turn.Dispose();

    private async ValueTask<bool> TakeTurnAsync(CancellationToken cancellationToken)
    {
        await _turn.WaitAsync(cancellationToken).ConfigureAwait(false);
        return true;
    }

    private async ValueTask SettleAsync(
        NpgsqlConnection connection, ServerDataSource host, NpgsqlDataSource source, PathKind kind, bool blocking, CancellationToken cancellationToken)
    {
        var isAsked = settings.Timeouts is TimeoutStrategy.Auto or TimeoutStrategy.Startup
            || (settings.Timeouts == TimeoutStrategy.PerLease && kind is PathKind.TransactionPooler or PathKind.UncertainPooler);
        var missing = isAsked ? await greeting.FindMissingAsync(connection, blocking, cancellationToken).ConfigureAwait(false) : "";
        var way = settings.SessionTimeouts.Count == 0 ? TimeoutWay.Unsaid : ServerPath.WayOf(kind, settings.Timeouts, missing.Length > 0);
        if (hosts.TrySettle(host, source, kind, way))
        {
            Report(kind, way, missing);
        }
    }

    private NpgsqlDataSource BuildSecond(ServerDataSource host)
    {
        var unpooled = new NpgsqlConnectionStringBuilder(host.Text)
        {
            Pooling = false,
            CommandTimeout = SurveySeconds,
            Timeout = SurveySeconds,

            // When it is given up nobody waits for it to say goodbye.
            CancellationTimeout = -1,
        };
        return ServerDataSource.Build(settings, unpooled.ConnectionString);
    }

    private void Report(PathKind kind, TimeoutWay way, string missing)
    {
        if (kind != PathKind.Direct)
        {
            Log.PoolerFound(logger, settings.Name, FindingOf(kind));
            if (kind == PathKind.TransactionPooler && settings.Reset == SessionReset.Strict)
            {
                Log.ResetIsOff(logger, settings.Name, settings.Reset);
            }
        }

        if (missing.Length == 0)
        {
            return;
        }

        var consequence = ConsequenceOf(way);
        var cure = Cure(settings.SessionTimeouts);
        if (_refusal is { } refusal)
        {
            Log.TimeoutsNeedTheServer(logger, settings.Name, missing, $"a pooler refuses start-up options (\"{refusal}\")", consequence, cure);
        }
        else if (settings.Timeouts == TimeoutStrategy.PerLease)
        {
            Log.TimeoutsNeedTheServer(logger, settings.Name, missing, "a pooler gives out server sessions by transaction", consequence, cure);
        }
        else
        {
            Log.TimeoutNotInForce(logger, settings.Name, missing, consequence, cure);
        }
    }

    private static string FindingOf(PathKind kind) => kind switch
    {
        PathKind.SessionPooler => "it leaves a server session to a connection for as long as that lives.",
        PathKind.TransactionPooler => "it gives out server sessions by transaction, so nothing is reset when a lease comes back.",
        _ => "it did not let itself be asked whether it gives out server sessions by transaction, so timeouts are treated as if it did, and the session reset as if it did not.",
    };

    private static string ConsequenceOf(TimeoutWay way) => way switch
    {
        TimeoutWay.PerLease => "Every lease sets it itself instead, at the price of a round trip.",
        TimeoutWay.PerTransaction => "It is in force only in transactions begun by lease.BeginTransaction.",
        _ => "It is not in force.",
    };
}
