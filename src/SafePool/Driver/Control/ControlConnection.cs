using Microsoft.Extensions.Logging;
using Npgsql;
using SafePool.Driver.Hosts;
using SafePool.Logging;
using SafePool.Options;
using SafePool.Reports;

namespace SafePool.Driver.Control;

/// <summary>A connection beside the pool, opened for one act and closed after it: to cancel or end a session from outside, or to ask the server about itself.</summary>
/// <remarks>
/// <para>
/// It may be refused exactly when it is needed, so nothing depends on it alone. Never more than one at a time: what it is asked for takes turns, bounded by a timeout of its own.
/// </para>
/// <para>
/// A name is not an identity: under the name of a session another server may answer. So who answers is asked first, or in the very statement that does something; and when it is not a server on which the pool has a
/// session, it is tried again, with new connections, a few times: a balancer leads elsewhere the next time.
/// </para>
/// <para>Its <c>application_name</c> is that of the pool with <see cref="NameSuffix"/>, so that a person who looks at the server can tell it apart.</para>
/// </remarks>
internal sealed class ControlConnection(PoolSettings settings, TimeProvider clock, ILogger logger) : IAsyncDisposable
{
    public const string NameSuffix = " (SafePool control)";

    private const int LongestName = 63;
    private const int MostAttempts = 8;

    private static readonly TimeSpan _timeout = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan _firstPause = TimeSpan.FromMilliseconds(10);
    private static readonly TimeSpan _longestPause = TimeSpan.FromMilliseconds(200);

    private readonly SemaphoreSlim _turn = new(1, 1);
    private volatile bool _isDisposed;

    public Task<SignalOutcome> CancelAsync(PhysicalConnection target) => SignalAsync("cancel", "pg_cancel_backend", target);

    public Task<SignalOutcome> TerminateAsync(PhysicalConnection target) => SignalAsync("end", "pg_terminate_backend", target);

    /// <summary>Says something to the server for a caller who wants to know why it failed. Throws what it met.</summary>
    /// <param name="own">Which servers may be asked, and under which name.</param>
    /// <param name="timeout">For the turn, connecting and <paramref name="act"/> together. A single statement has two seconds at most.</param>
    /// <param name="act">What to say. Over when its token is cancelled, whether it has ended or not.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="TimeoutException">There was no answer within <paramref name="timeout"/>.</exception>
    /// <exception cref="OtherServerException">Only servers answered on which the pool has no session.</exception>
    public Task<T> AskAsync<T>(OwnServers own, TimeSpan timeout, Func<ControlSession, CancellationToken, Task<T>> act, CancellationToken cancellationToken)
    {
        return TakeTurnAsync(own.Newest, timeout, AttemptAsync, cancellationToken);

        async Task<Attempt<T>> AttemptAsync(NpgsqlConnection connection, CancellationToken cancellation)
        {
            var server = await ControlSession.AskServerAsync(connection, cancellation).ConfigureAwait(false);
            return own.MayBe(server)
                ? new Attempt<T>(true, await act(new ControlSession(connection, server, own.IsProven(server)), cancellation).ConfigureAwait(false))
                : default;
        }
    }

    /// <summary>Whether a session that was opened now would be on a standby; null when the server does not say. Throws what it met.</summary>
    public Task<bool?> LeadsToStandbyAsync(CancellationToken cancellationToken)
        => TakeTurnAsync(
            host: null,
            _timeout,
            static async (connection, _) => new Attempt<bool?>(true, await RoleQuestion.IsOnStandbyAsync(connection).ConfigureAwait(false)),
            cancellationToken);

    /// <summary>How much room the server has, and who uses it; null when it does not say.</summary>
    public async Task<ServerCensus?> TakeCensusAsync(OwnServers own)
    {
        try
        {
            return await AskAsync(own, _timeout, (session, cancellation) => ServerCensus.TakeAsync(session.Connection, cancellation), CancellationToken.None)
                .ConfigureAwait(false);
        }
        catch (Exception error)
        {
            Log.ControlFailed(logger, settings.Name, "ask for the limits", error);
            return null;
        }
    }

    /// <summary>
    /// What <c>pg_stat_activity</c> says about some sessions, by their own servers: nothing when it cannot be asked (it may be full, or cannot be reached by its name), null when it does not answer.
    /// </summary>
    public async Task<IReadOnlyDictionary<NpgsqlConnection, BackendActivity>?> InspectAsync(IEnumerable<(NpgsqlConnection Connection, PhysicalConnection Physical)> targets)
    {
        var found = new Dictionary<NpgsqlConnection, BackendActivity>();
        foreach (var sessions in targets.Where(target => target.Physical.Identity.IsProvable).GroupBy(target => target.Physical.Identity.Server!))
        {
            if (await InspectAsync(sessions.Key, [.. sessions]).ConfigureAwait(false) is not { } answers)
            {
                return null;
            }

            foreach (var (connection, physical) in sessions)
            {
                if (answers.GetValueOrDefault((physical.Identity.ProcessId!.Value, physical.Identity.StartedAt!.Value)) is { } activity)
                {
                    found[connection] = activity;
                }
            }
        }

        return found;
    }

    /// <summary>Lets the act under way come to its end, within its timeout, and begins none any more.</summary>
    public async ValueTask DisposeAsync()
    {
        _isDisposed = true;
        using var timeout = new CancellationTokenSource(_timeout, clock);
        await _turn.WaitAsync(timeout.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    private async Task<IReadOnlyDictionary<(int ProcessId, long StartedAt), BackendActivity>?> InspectAsync(
        ServerIdentity server, (NpgsqlConnection Connection, PhysicalConnection Physical)[] sessions)
    {
        var newest = sessions.MaxBy(session => session.Physical.OpenedAt).Physical;
        int[] processIds = [.. sessions.Select(session => session.Physical.Identity.ProcessId!.Value)];
        try
        {
            return await AskAsync(
                new OwnServers(newest.Host, new HashSet<ServerIdentity> { server }, IsUncertain: false),
                _timeout,
                (session, cancellation) => ActivityQuery.RunAsync(session.Connection, processIds, cancellation),
                CancellationToken.None).ConfigureAwait(false);
        }
        catch (Exception error)
        {
            Log.ControlFailed(logger, settings.Name, "inspect", error);
            return error is PostgresException or OtherServerException ? new Dictionary<(int, long), BackendActivity>() : null;
        }
    }

    private async Task<SignalOutcome> SignalAsync(string task, string function, PhysicalConnection target)
    {
        var session = target.Identity;
        var outcome = SignalOutcome.NotProvable;
        if (target.IsDirect && session.IsProvable)
        {
            try
            {
                outcome = await TakeTurnAsync(target.Host, _timeout, AttemptAsync, CancellationToken.None).ConfigureAwait(false);
            }
            catch (OtherServerException)
            {
                outcome = SignalOutcome.OtherServer;
            }
            catch (Exception error)
            {
                Log.ControlFailed(logger, settings.Name, task, error);
                outcome = SignalOutcome.NoAnswer;
            }
        }

        Log.Signalled(logger, settings.Name, task, session.ProcessId ?? 0, target.Host?.ToString() ?? "", outcome.Words());
        return outcome;

        async Task<Attempt<SignalOutcome>> AttemptAsync(NpgsqlConnection connection, CancellationToken cancellation)
        {
            var answer = await ControlSession.SignalAsync(connection, function, session, cancellation).ConfigureAwait(false);
            return new Attempt<SignalOutcome>(answer != SignalOutcome.OtherServer, answer);
        }
    }

    private async Task<T> TakeTurnAsync<T>(
        HostName? host, TimeSpan timeout, Func<NpgsqlConnection, CancellationToken, Task<Attempt<T>>> attempt, CancellationToken cancellationToken)
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        using var bound = new CancellationTokenSource(timeout, clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(bound.Token, cancellationToken);
        try
        {
            await _turn.WaitAsync(either.Token).ConfigureAwait(false);

            // A server that has gone silent is noticed by Npgsql much later. The turn lasts until then: there is never a second connection.
            return await InTurnAsync(host, attempt, either.Token).WaitAsync(either.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException late) when (bound.IsCancellationRequested && !cancellationToken.IsCancellationRequested)
        {
            // Who disposes it keeps the turn.
            ObjectDisposedException.ThrowIf(_isDisposed, this);
            throw new TimeoutException($"No answer within {Sentences.Duration(timeout)}.", late);
        }
    }

    private async Task<T> InTurnAsync<T>(
        HostName? host, Func<NpgsqlConnection, CancellationToken, Task<Attempt<T>>> attempt, CancellationToken cancellationToken)
    {
        try
        {
            ObjectDisposedException.ThrowIf(_isDisposed, this);
            var pause = _firstPause;
            for (var attempts = 1; ; attempts++)
            {
                if (await TryAsync(host, attempt, cancellationToken).ConfigureAwait(false) is { IsConclusive: true } conclusive)
                {
                    return conclusive.Answer;
                }

                if (attempts == MostAttempts)
                {
                    throw new OtherServerException(attempts);
                }

#pragma warning disable CA5394 // So that several pools behind one balancer do not keep step with it; nothing is secret about it.
                await Task.Delay(pause * (0.5 + Random.Shared.NextDouble()), clock, cancellationToken).ConfigureAwait(false);
#pragma warning restore CA5394
                pause = pause * 2 < _longestPause ? pause * 2 : _longestPause;
            }
        }
        finally
        {
            _turn.Release();
        }
    }

    private async Task<Attempt<T>> TryAsync<T>(
        HostName? host, Func<NpgsqlConnection, CancellationToken, Task<Attempt<T>>> attempt, CancellationToken cancellationToken)
    {
        // It calls the user, who may not heed a token.
        var server = await UnpooledConnection.OpenAsync(() => Build(host), clock, cancellationToken).ConfigureAwait(false);
        await using var disposal = server.ConfigureAwait(false);
        return await attempt(server.Connection, cancellationToken).ConfigureAwait(false);
    }

    private NpgsqlDataSource Build(HostName? host)
    {
        // With what the user says in Options, which a proxy may need to find the database; without the pool's timeouts, which a pooler may refuse.
        var unpooled = new NpgsqlConnectionStringBuilder(settings.BareDataSourceString)
        {
            Pooling = false,
            CommandTimeout = (int)_timeout.TotalSeconds,
            Timeout = (int)_timeout.TotalSeconds,
        };
        var name = unpooled.ApplicationName ?? settings.Name;

        // The server cuts long names at their end, and would make this one the pool's own.
        unpooled.ApplicationName = name[..Math.Min(name.Length, LongestName - NameSuffix.Length)] + NameSuffix;
        if (host is { } session)
        {
            // Of several hosts to that of the session. It saves attempts, and proves nothing.
            unpooled.Host = session.Name;
            unpooled.Port = session.Port;
        }

        return NpgsqlConnectionSource.Build(settings, unpooled.ConnectionString, DataSourceUse.Control);
    }

    /// <param name="IsConclusive">The right server has answered.</param>
    /// <param name="Answer">Of it.</param>
    private readonly record struct Attempt<T>(bool IsConclusive, T Answer);
}
