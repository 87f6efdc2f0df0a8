using Npgsql;

namespace SafePool.Connections;

/// <summary>Runs a user's hook for asynchronous and for blocking callers.</summary>
internal static class Hooks
{
    public static ValueTask RunAsync(
        Func<NpgsqlConnection, CancellationToken, ValueTask> hook, NpgsqlConnection connection, bool blocking, CancellationToken cancellationToken)
    {
        var running = hook(connection, cancellationToken);
        if (blocking && !running.IsCompleted)
        {
            running.AsTask().GetAwaiter().GetResult();
            return ValueTask.CompletedTask;
        }

        return running;
    }
}
