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

    public Task<bool> CancelAsync(NpgsqlConnection target) => ActAsync("cancel", "pg_cancel_backend", target);

    public Task<bool> TerminateAsync(NpgsqlConnection target) => ActAsync("terminate", "pg_terminate_backend", target);

    public void Dispose() => _turn.Dispose();

    private async Task<bool> ActAsync(string task, string function, NpgsqlConnection target)
    {
        using var patience = new CancellationTokenSource(_patience, clock);
        try
        {
            var (host, port, processId) = (target.Host, target.Port, target.ProcessID);
            await _turn.WaitAsync(patience.Token).ConfigureAwait(false);
            try
            {
                return await CallAsync(host, port, function, processId, patience.Token).ConfigureAwait(false);
            }
            finally
            {
                _turn.Release();
            }
        }
        catch (Exception error)
        {
            Log.ControlFailed(logger, settings.Name, task, error);
            return false;
        }
    }

    private async Task<bool> CallAsync(string? host, int port, string function, int processId, CancellationToken cancellationToken)
    {
        // To the very host of the session: with several hosts in the string the same id is somebody else's on the others.
        var unpooled = new NpgsqlConnectionStringBuilder(settings.DataSourceString)
        {
            Host = host,
            Port = port,
            TargetSessionAttributes = null,
            Pooling = false,
            Options = null,
            CommandTimeout = (int)_patience.TotalSeconds,
            Timeout = (int)_patience.TotalSeconds,
        };
        var dataSource = NpgsqlConnectionSource.Build(settings, unpooled.ConnectionString);
        await using var disposal = dataSource.ConfigureAwait(false);
        var command = dataSource.CreateCommand(string.Create(CultureInfo.InvariantCulture, $"SELECT {function}({processId})"));
        await using var commandDisposal = command.ConfigureAwait(false);
        return await command.ExecuteScalarAsync(cancellationToken).ConfigureAwait(false) is true;
    }
}
