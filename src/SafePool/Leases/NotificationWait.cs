using Npgsql;
using SafePool.Driver;
using SafePool.Options;
using SafePool.Reports;

namespace SafePool.Leases;

/// <summary>One wait for notifications on a lease, with signs of life in between.</summary>
internal sealed class NotificationWait(Lease lease, TimeSpan signOfLife)
{
    // In whole seconds.
    private static readonly int _patience = (int)Math.Ceiling(PoolSettings.ReturnPatience.TotalSeconds);

    // Npgsql takes milliseconds, and zero for no end.
    private readonly int _silence = Math.Max(1, (int)signOfLife.TotalMilliseconds);
    private volatile bool _hasArrived;

    /// <summary>Ends when something has arrived.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        var connection = lease.Connection;
        connection.Notification += OnNotification;
        try
        {
            do
            {
                // Also before the first wait: the reset of the last lease may still be unsent, and a wait that is cancelled while its answer arrives breaks the connection.
                await AskForASignOfLifeAsync(lease.Connection).ConfigureAwait(false);
                cancellationToken.ThrowIfCancellationRequested();
            }
            while (!_hasArrived && !await lease.Connection.WaitAsync(_silence, cancellationToken).ConfigureAwait(false));
        }
        finally
        {
            connection.Notification -= OnNotification;
        }
    }

    private static async Task AskForASignOfLifeAsync(NpgsqlConnection connection)
    {
        var command = Housekeeping.Command(";", connection);
        await using var disposal = command.ConfigureAwait(false);
        command.CommandTimeout = _patience;
        try
        {
            await command.ExecuteNonQueryAsync(CancellationToken.None).ConfigureAwait(false);
        }
        catch (NpgsqlException silent) when (silent.InnerException is TimeoutException)
        {
            throw new NpgsqlException(
                $"The server gave no sign of life within {Sentences.Duration(TimeSpan.FromSeconds(_patience))} to a lease that waits for notifications. Rent another one, LISTEN again, and look for what was missed.", silent);
        }
    }

    private void OnNotification(object sender, NpgsqlNotificationEventArgs notification) => _hasArrived = true;
}
