using Microsoft.Extensions.Logging;
using Npgsql;
using SafePool.Driver.Hosts;
using SafePool.Logging;
using SafePool.Options;

namespace SafePool.Driver.Poolers;

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

    /// <summary>Leases cannot set the timeouts themselves any more.</summary>
    public static void ReportNotProvable(ILogger logger, PoolSettings settings)
        => Log.TimeoutsNeedTheServer(
            logger,
            settings.Name,
            string.Join(", ", settings.SessionTimeouts.Select(timeout => timeout.Parameter)),
            "a pooler is in between, and the role may not ask pg_backend_pid(), pg_postmaster_start_time() or set_config(), so it is not proven that a lease has a server session of its own",
            ConsequenceOf(TimeoutWay.PerTransaction),
            Cure(settings.SessionTimeouts));

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
        NpgsqlConnection connection,
        ServerDataSource host,
        NpgsqlDataSource source,
        SessionIdentity session,
        int generation,
        bool blocking,
        CancellationToken cancellationToken)
    {
        if (session.ProcessId is not { } backendId || backendId == connection.ProcessID)
        {
            if (session.ProcessId is not null && hosts.TryWithOptions(host, source))
            {
                // The pooler that had refused them is gone: another connection, with them.
                _refusal = null;
                return;
            }

            // Whether the backend is the connection's own cannot be asked: then a pooler by transaction cannot be excluded.
            var found = session.ProcessId is null ? PathKind.UncertainPooler : PathKind.Direct;
            await SettleAsync(connection, host, source, found, session.ProcessId is not null, generation, blocking, cancellationToken).ConfigureAwait(false);
            return;
        }

        var hasTurn = await TryTakeTurnAsync(blocking, cancellationToken).ConfigureAwait(false);
        try
        {
            if (path.IsKnown || source != host.Current)
            {
                return;
            }

            // Whoever has waited in vain does not ask: the survey under way gets no answer either.
            var kind = hasTurn
                ? await SurveyAsync(connection, host, session, blocking, cancellationToken).ConfigureAwait(false)
                : PathKind.UncertainPooler;
            await SettleAsync(connection, host, source, kind, isFound: true, generation, blocking, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            if (hasTurn)
            {
                _turn.Release();
            }
        }
    }

    /// <summary>After an open behind a pooler of which it is not proven that it gives out sessions by transaction: it may be another one by now, or let itself be asked.</summary>
    /// <remarks>
    /// A connection serves after a survey that began once it was connected; opens that are under way together share one. But for a minute after one that got no answer, and where the turn does not come, it serves without. What proves
    /// nothing changes nothing, and what was proven meanwhile, or before, stays: that it is by session is never more than likely.
    /// </remarks>
    public async ValueTask AskAgainAsync(
        NpgsqlConnection connection,
        ServerDataSource host,
        NpgsqlDataSource source,
        SessionIdentity session,
        int generation,
        bool blocking,
        CancellationToken cancellationToken)
    {
        var begunBefore = host.Surveys.Begun;
        if (session.ProcessId is null || !IsOpenToDoubt || !host.Surveys.IsDue(begunBefore)
            || !await TryTakeTurnAsync(blocking, cancellationToken).ConfigureAwait(false))
        {
            return;
        }

        try
        {
            if (!path.IsKnown || !IsOpenToDoubt || source != host.Current || !host.Surveys.IsDue(begunBefore))
            {
                return;
            }

            var kind = await SurveyAsync(connection, host, session, blocking, cancellationToken).ConfigureAwait(false);
            if (IsOpenToDoubt && (kind == PathKind.TransactionPooler || (kind == PathKind.SessionPooler && path.Kind == PathKind.UncertainPooler)))
            {
                path.Doubt();
                await SettleAsync(connection, host, source, kind, isFound: true, generation, blocking, cancellationToken).ConfigureAwait(false);
            }
        }
        finally
        {
            _turn.Release();
        }
    }

    public void Dispose() => _turn.Dispose();

    private bool IsOpenToDoubt => path.Kind is PathKind.SessionPooler or PathKind.UncertainPooler;

    /// <summary>One at a time, or they would take the pooler's free backends away from each other, and be one connection too many for each. But nobody waits for long for who needs a thread of the pool.</summary>
    private async ValueTask<bool> TryTakeTurnAsync(bool blocking, CancellationToken cancellationToken)
    {
        var patience = _survey.Patience + OpenAttempt.Grace;
        return blocking
            ? _turn.Wait(patience, CancellationToken.None)
            : await _turn.WaitAsync(patience, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>In turn.</summary>
    private async ValueTask<PathKind> SurveyAsync(
        NpgsqlConnection connection, ServerDataSource host, SessionIdentity session, bool blocking, CancellationToken cancellationToken)
    {
        host.Surveys.Begin();
        var kind = await _survey.FindKindAsync(connection, session, () => BuildSecond(host), blocking, cancellationToken).ConfigureAwait(false);
        host.Surveys.End(kind != PathKind.UncertainPooler);
        return kind;
    }

    private async ValueTask SettleAsync(
        NpgsqlConnection connection,
        ServerDataSource host,
        NpgsqlDataSource source,
        PathKind kind,
        bool isFound,
        int generation,
        bool blocking,
        CancellationToken cancellationToken)
    {
        var isAsked = settings.Timeouts is TimeoutStrategy.Auto or TimeoutStrategy.Startup
            || (settings.Timeouts == TimeoutStrategy.PerLease && kind is PathKind.TransactionPooler or PathKind.UncertainPooler);
        var areSaid = kind == PathKind.Direct && _refusal is null;
        var missing = isAsked ? await greeting.FindMissingAsync(connection, areSaid, generation, blocking, cancellationToken).ConfigureAwait(false) : "";
        var way = settings.SessionTimeouts.Count == 0 ? TimeoutWay.Unsaid : ServerPath.WayOf(kind, settings.Timeouts, missing.Length > 0);
        if (hosts.TrySettle(host, source, kind, way))
        {
            Report(kind, way, missing, isFound);
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
        return ServerDataSource.Build(settings, unpooled.ConnectionString, DataSourceUse.Survey);
    }

    private void Report(PathKind kind, TimeoutWay way, string missing, bool isFound)
    {
        if (kind != PathKind.Direct && isFound)
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
