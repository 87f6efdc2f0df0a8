using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using Microsoft.Extensions.Logging;
using Npgsql;
using SafePool.Errors;
using SafePool.Options;
using SafePool.Telemetry;

namespace SafePool.Connections;

/// <summary>One connection beside the pool: to cancel or end a session from outside, to ask the server about itself and, kept open, to hear when it goes away.</summary>
/// <remarks>
/// <para>
/// It may be refused exactly when it is needed, so nothing depends on it alone. Never more than one at a time: what it is asked for takes turns, bounded by a
/// timeout of its own. When a session lies on another host than the connection that is kept open, that one is given up for it.
/// </para>
/// <para>Its <c>application_name</c> is that of the pool with <see cref="NameSuffix"/>, so that a person who looks at the server can tell it apart.</para>
/// </remarks>
internal sealed class ControlConnection(PoolSettings settings, TimeProvider clock, ILogger logger) : IAsyncDisposable
{
    public const string NameSuffix = " (SafePool control)";

    private const int LongestName = 63;

    private static readonly TimeSpan _patience = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan _firstPause = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan _longestPause = TimeSpan.FromSeconds(30);

    private readonly SemaphoreSlim _turn = new(1, 1);
    private WatchedConnection? _watched;
    private int _isOpening;
    private volatile bool _isDisposed;
    private long _nextAttempt = long.MinValue;
    private TimeSpan _pause = _firstPause;

    public Task<bool> CancelAsync(NpgsqlConnection target) => SignalAsync("cancel", "pg_cancel_backend", target);

    public Task<bool> TerminateAsync(NpgsqlConnection target) => SignalAsync("terminate", "pg_terminate_backend", target);

    /// <summary>Whether it is open and listens; if it should be but is not, begins to open it, now and then.</summary>
    /// <param name="host">Where; null for wherever the connection string leads.</param>
    /// <param name="lost">Called when the server goes away. Held weakly.</param>
    public bool KeepOpen(HostName? host, Action<Exception> lost)
    {
        if (Volatile.Read(ref _watched) is { IsOpen: true } watched && (host is null || watched.Host == host))
        {
            return true;
        }

        if (clock.GetTimestamp() >= Volatile.Read(ref _nextAttempt) && Interlocked.Exchange(ref _isOpening, 1) == 0)
        {
            _ = OpenWatchedAsync(host, new WeakReference<Action<Exception>>(lost));
        }

        return false;
    }

    /// <summary>Says something to the server for a caller who wants to know why it failed. Throws what it met.</summary>
    /// <param name="host">Where; null for wherever the connection string leads.</param>
    /// <param name="patience">For the turn, connecting and <paramref name="act"/> together. A single statement has two seconds at most.</param>
    /// <param name="act">What to say. Over when its token is cancelled, whether it has ended or not.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="TimeoutException">There was no answer within <paramref name="patience"/>.</exception>
    public async Task<T> AskAsync<T>(
        HostName? host, TimeSpan patience, Func<NpgsqlConnection, CancellationToken, Task<T>> act, CancellationToken cancellationToken)
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        using var timeout = new CancellationTokenSource(patience, clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(timeout.Token, cancellationToken);
        try
        {
            await _turn.WaitAsync(either.Token).ConfigureAwait(false);

            // A server that has gone silent is noticed by Npgsql much later. The turn lasts until then: there is never a second connection.
            return await InTurnAsync(host, act, either.Token).WaitAsync(either.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException late) when (timeout.IsCancellationRequested && !cancellationToken.IsCancellationRequested)
        {
            // Who disposes it keeps the turn.
            ObjectDisposedException.ThrowIf(_isDisposed, this);
            throw new TimeoutException($"No answer within {Sentences.Duration(patience)}.", late);
        }
    }

    /// <summary>How much room the server has, and who uses it; null when it does not say.</summary>
    public Task<ServerCensus?> TakeCensusAsync(HostName? host)
        => ActAsync("ask for the limits", host, ServerCensus.TakeAsync);

    /// <summary>What <c>pg_stat_activity</c> says about some sessions: nothing when the server refuses (it may be full), null when it does not answer.</summary>
    public async Task<IReadOnlyDictionary<NpgsqlConnection, BackendActivity>?> InspectAsync(IEnumerable<NpgsqlConnection> targets)
    {
        var found = new Dictionary<NpgsqlConnection, BackendActivity>();
        foreach (var host in Locate(targets).GroupBy(session => session.Host))
        {
            var answers = await ActAsync(
                "inspect",
                host.Key,
                (server, cancellation) => ActivityQuery.RunAsync(server, [.. host.Select(session => session.ProcessId)], cancellation),
                refused: []).ConfigureAwait(false);
            if (answers is null)
            {
                return null;
            }

            foreach (var session in host.Where(session => answers.ContainsKey(session.ProcessId)))
            {
                found[session.Connection] = answers[session.ProcessId];
            }
        }

        return found;
    }

    /// <summary>Closes it until it is asked for again.</summary>
    public async ValueTask CloseAsync()
    {
        using var patience = new CancellationTokenSource(_patience, clock);
        await _turn.WaitAsync(patience.Token).ConfigureAwait(false);
        try
        {
            await GiveUpWatchedAsync().ConfigureAwait(false);
        }
        finally
        {
            _turn.Release();
        }
    }

    /// <summary>Closes it, and opens it no more.</summary>
    public async ValueTask DisposeAsync()
    {
        _isDisposed = true;
        using var patience = new CancellationTokenSource(_patience, clock);
        await _turn.WaitAsync(patience.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await GiveUpWatchedAsync().ConfigureAwait(false);
    }

    /// <summary>False when the connection is not open any more; it is read from another flow, which Npgsql does not expect.</summary>
    private static bool TryLocate(NpgsqlConnection connection, [NotNullWhen(true)] out HostName? host, out int processId)
    {
        try
        {
            (host, processId) = (HostName.Of(connection), connection.ProcessID);
            return true;
        }
        catch (Exception error) when (error is InvalidOperationException or NullReferenceException)
        {
            (host, processId) = (null, 0);
            return false;
        }
    }

    private static IEnumerable<(NpgsqlConnection Connection, HostName Host, int ProcessId)> Locate(IEnumerable<NpgsqlConnection> targets)
    {
        foreach (var target in targets)
        {
            if (TryLocate(target, out var host, out var processId))
            {
                yield return (target, host, processId);
            }
        }
    }

    private async Task<bool> SignalAsync(string task, string function, NpgsqlConnection target)
    {
        if (!TryLocate(target, out var host, out var processId))
        {
            return false;
        }

        var sql = string.Create(CultureInfo.InvariantCulture, $"SELECT {function}({processId})");
        return await ActAsync(task, host, (server, cancellation) => CallAsync(server, sql, cancellation)).ConfigureAwait(false) is true;
    }

    private async Task<T?> ActAsync<T>(string task, HostName? host, Func<NpgsqlConnection, CancellationToken, Task<T>> act, T? refused = default)
    {
        try
        {
            return await AskAsync(host, _patience, act, CancellationToken.None).ConfigureAwait(false);
        }
        catch (Exception error)
        {
            Log.ControlFailed(logger, settings.Name, task, error);
            return error is PostgresException ? refused : default;
        }
    }

    private async Task<T> InTurnAsync<T>(HostName? host, Func<NpgsqlConnection, CancellationToken, Task<T>> act, CancellationToken cancellationToken)
    {
        try
        {
            return await TalkAsync(host, act, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            _turn.Release();
        }
    }

    private async Task<T> TalkAsync<T>(HostName? host, Func<NpgsqlConnection, CancellationToken, Task<T>> act, CancellationToken cancellationToken)
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        if (_watched is { IsOpen: true } watched && (host is null || watched.Host == host))
        {
            await watched.InterruptAsync().ConfigureAwait(false);
            try
            {
                return await act(watched.Connection, cancellationToken).ConfigureAwait(false);
            }
            finally
            {
                // If this broke it, the wait finds out at once.
                watched.Listen();
            }
        }

        await GiveUpWatchedAsync().ConfigureAwait(false);
        var server = Connect(host);
        await using var serverDisposal = server.ConfigureAwait(false);
        var connection = await server.OpenConnectionAsync(cancellationToken).ConfigureAwait(false);
        await using var connectionDisposal = connection.ConfigureAwait(false);
        return await act(connection, cancellationToken).ConfigureAwait(false);
    }

    private async Task OpenWatchedAsync(HostName? host, WeakReference<Action<Exception>> lost)
    {
        using var patience = new CancellationTokenSource(_patience, clock);
        try
        {
            await _turn.WaitAsync(patience.Token).ConfigureAwait(false);
            try
            {
                ObjectDisposedException.ThrowIf(_isDisposed, this);
                await GiveUpWatchedAsync().ConfigureAwait(false);
                Volatile.Write(ref _watched, await WatchedConnection.OpenAsync(Connect(host), lost, patience.Token).ConfigureAwait(false));
                _pause = _firstPause;
            }
            finally
            {
                _turn.Release();
            }
        }
        catch (Exception error)
        {
            Volatile.Write(ref _nextAttempt, clock.GetTimestamp() + (long)(_pause.TotalSeconds * clock.TimestampFrequency));
            _pause = _pause * 2 < _longestPause ? _pause * 2 : _longestPause;
            Log.ControlFailed(logger, settings.Name, "watch the server", error);
        }
        finally
        {
            Volatile.Write(ref _isOpening, 0);
        }
    }

    private async Task GiveUpWatchedAsync()
    {
        if (Interlocked.Exchange(ref _watched, null) is { } watched)
        {
            await watched.DisposeAsync().ConfigureAwait(false);
        }
    }

    private NpgsqlDataSource Connect(HostName? host)
    {
        var unpooled = new NpgsqlConnectionStringBuilder(settings.DataSourceString)
        {
            Pooling = false,
            Options = null,
            CommandTimeout = (int)_patience.TotalSeconds,
            Timeout = (int)_patience.TotalSeconds,
        };
        var name = unpooled.ApplicationName ?? settings.Name;

        // The server cuts long names at their end, and would make this one the pool's own.
        unpooled.ApplicationName = name[..Math.Min(name.Length, LongestName - NameSuffix.Length)] + NameSuffix;
        if (host is { } session)
        {
            // To the very host of the session: with several hosts in the string the same id is somebody else's on the others.
            unpooled.Host = session.Name;
            unpooled.Port = session.Port;
        }

        return NpgsqlConnectionSource.Build(settings, unpooled.ConnectionString);
    }

    private static async Task<bool> CallAsync(NpgsqlConnection server, string sql, CancellationToken cancellationToken)
    {
        var command = new NpgsqlCommand(sql, server);
        await using var disposal = command.ConfigureAwait(false);
        return await command.ExecuteScalarAsync(cancellationToken).ConfigureAwait(false) is true;
    }
}
