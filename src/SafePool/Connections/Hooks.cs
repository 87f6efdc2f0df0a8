using Npgsql;
using SafePool.Errors;

namespace SafePool.Connections;

/// <summary>Runs a user's hook for asynchronous and for blocking callers.</summary>
internal static class Hooks
{
    public static ValueTask RunAsync(
        Func<NpgsqlConnection, CancellationToken, ValueTask> hook, NpgsqlConnection connection, bool blocking, CancellationToken cancellationToken)
    {
        var running = Begin(hook, connection, cancellationToken);
        if (blocking && !running.IsCompleted)
        {
            running.AsTask().GetAwaiter().GetResult();
            return ValueTask.CompletedTask;
        }

        return running;
    }

    /// <summary>The same within a bound: its token is cancelled then, and it is not waited for any longer.</summary>
    /// <remarks>What holds up the thread on which it is called holds up its caller: that is his own.</remarks>
    /// <param name="hook">The hook.</param>
    /// <param name="name">Its option.</param>
    /// <param name="connection">What it is given; afterwards it may still be in use.</param>
    /// <param name="blocking">Completes synchronously.</param>
    /// <param name="bound">How long it may take.</param>
    /// <param name="time">The clock.</param>
    /// <param name="cancellationToken">The caller's.</param>
    /// <exception cref="TimeoutException">It had not ended by then.</exception>
    public static async ValueTask RunWithinAsync(
        Func<NpgsqlConnection, CancellationToken, ValueTask> hook,
        string name,
        NpgsqlConnection connection,
        bool blocking,
        TimeSpan bound,
        TimeProvider time,
        CancellationToken cancellationToken)
    {
        using var timeout = new CancellationTokenSource(bound, time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(timeout.Token, cancellationToken);
        var running = Begin(hook, connection, either.Token);
        if (running.IsCompleted)
        {
            await running.ConfigureAwait(false);
            return;
        }

        var ending = running.AsTask();
        try
        {
            if (!blocking)
            {
                await ending.WaitAsync(either.Token).ConfigureAwait(false);
            }
            else if (Task.WaitAny([ending], bound) == 0)
            {
                ending.GetAwaiter().GetResult();
            }
            else
            {
                throw Hangs(name, bound);
            }
        }
        catch (OperationCanceledException) when (timeout.IsCancellationRequested && !cancellationToken.IsCancellationRequested)
        {
            throw Hangs(name, bound);
        }
        finally
        {
            // What it throws later is nobody's.
            _ = ending.ContinueWith(static late => _ = late.Exception, CancellationToken.None, TaskContinuationOptions.OnlyOnFaulted, TaskScheduler.Default);
        }
    }

    private static TimeoutException Hangs(string name, TimeSpan bound) => new($"The hook {name} had not ended after {Sentences.Duration(bound)}.");

    private static ValueTask Begin(Func<NpgsqlConnection, CancellationToken, ValueTask> hook, NpgsqlConnection connection, CancellationToken cancellationToken)
        // The awaits inside would go back to the caller's context, and the caller may block there.
        => SynchronizationContext.Current is null && TaskScheduler.Current == TaskScheduler.Default
            ? hook(connection, cancellationToken)
            : new ValueTask(Task.Run(() => hook(connection, cancellationToken).AsTask(), CancellationToken.None));
}
