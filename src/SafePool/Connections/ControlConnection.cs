using System.Globalization;
using Microsoft.Extensions.Logging;
using Npgsql;
using SafePool.Options;
using SafePool.Telemetry;

namespace SafePool.Connections;

/// <summary>One connection beside the pool, opened when a session must be cancelled or ended from outside, and closed afterwards.</summary>
/// <remarks>It may be refused exactly when it is needed, so nothing depends on it alone. One at a time, bounded by its own timeout.</remarks>
internal sealed class ControlConnection(PoolSettings settings, TimeProvider clock, ILogger logger) : IDisposable
{
    private static readonly TimeSpan _patience = TimeSpan.FromSeconds(2);

    private readonly SemaphoreSlim _turn = new(1, 1);

    public Task<bool> CancelAsync(NpgsqlConnection target) => SignalAsync("cancel", "pg_cancel_backend", target);

    public Task<bool> TerminateAsync(NpgsqlConnection target) => SignalAsync("terminate", "pg_terminate_backend", target);

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

    public void Dispose() => _turn.Dispose();

    /// <summary>False when the connection is not open any more; it is read from another flow, which Npgsql does not expect.</summary>
    private static bool TryLocate(NpgsqlConnection connection, out Host host, out int processId)
    {
        try
        {
            (host, processId) = (new Host(connection.Host, connection.Port), connection.ProcessID);
            return true;
        }
        catch (Exception error) when (error is InvalidOperationException or NullReferenceException)
        {
            (host, processId) = (default, 0);
            return false;
        }
    }

    private static IEnumerable<(NpgsqlConnection Connection, Host Host, int ProcessId)> Locate(IEnumerable<NpgsqlConnection> targets)
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

    private async Task<T?> ActAsync<T>(string task, Host host, Func<NpgsqlDataSource, CancellationToken, Task<T>> act, T? refused = default)
    {
        using var patience = new CancellationTokenSource(_patience, clock);
        try
        {
            await _turn.WaitAsync(patience.Token).ConfigureAwait(false);
            try
            {
                var server = Connect(host);
                await using var disposal = server.ConfigureAwait(false);
                return await act(server, patience.Token).ConfigureAwait(false);
            }
            finally
            {
                _turn.Release();
            }
        }
        catch (Exception error)
        {
            Log.ControlFailed(logger, settings.Name, task, error);
            return error is PostgresException ? refused : default;
        }
    }

    private NpgsqlDataSource Connect(Host host)
    {
        // To the very host of the session: with several hosts in the string the same id is somebody else's on the others.
        var unpooled = new NpgsqlConnectionStringBuilder(settings.DataSourceString)
        {
            Host = host.Name,
            Port = host.Port,
            TargetSessionAttributes = null,
            Pooling = false,
            Options = null,
            CommandTimeout = (int)_patience.TotalSeconds,
            Timeout = (int)_patience.TotalSeconds,
        };
        return NpgsqlConnectionSource.Build(settings, unpooled.ConnectionString);
    }

    private static async Task<bool> CallAsync(NpgsqlDataSource server, string sql, CancellationToken cancellationToken)
    {
        var command = server.CreateCommand(sql);
        await using var disposal = command.ConfigureAwait(false);
        return await command.ExecuteScalarAsync(cancellationToken).ConfigureAwait(false) is true;
    }

    private readonly record struct Host(string? Name, int Port);
}
