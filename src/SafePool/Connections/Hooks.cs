using Npgsql;

namespace SafePool.Connections;

/// <summary>Runs a user's hook for asynchronous and for blocking callers.</summary>
internal static class Hooks
{
    public static ValueTask RunAsync(
        Func<NpgsqlConnection, CancellationToken, ValueTask> hook, NpgsqlConnection connection, bool blocking, CancellationToken cancellationToken)
    {
        // The awaits inside would go back to the caller's context, and the caller may block there.
        var running = SynchronizationContext.Current is null && TaskScheduler.Current == TaskScheduler.Default
            ? hook(connection, cancellationToken)
            : new ValueTask(Task.Run(() => hook(connection, cancellationToken).AsTask(), CancellationToken.None));
        if (blocking && !running.IsCompleted)
        {
            running.AsTask().GetAwaiter().GetResult();
            return ValueTask.CompletedTask;
        }

        return running;
    }
}
