using System.Collections.Concurrent;
using Npgsql;
using SafePool.Reports;
using SafePool.Time;

namespace SafePool.Driver;

/// <summary>Runs the hooks of a pool's user, for asynchronous and for blocking callers, and knows which of them run now.</summary>
internal sealed class Hooks(PoolClock clock)
{
    private readonly ConcurrentDictionary<HookCall, byte> _running = new();
    private readonly AsyncLocal<HookCall?> _current = new();
    private readonly HookTimes _times = new(clock);
    private volatile bool _wasAnyRun;

    /// <summary>The hook within which the caller runs; null outside of one.</summary>
    public HookCall? Current => _wasAnyRun ? _current.Value : null;

    /// <summary>The hooks that run now, and that somebody waits for.</summary>
    public IEnumerable<HookCall> Running => _running.Keys.Where(call => call.IsAwaited);

    /// <inheritdoc cref="HookTimes.Read"/>
    public HookShare? Share(TimeSpan within, int places) => _wasAnyRun ? _times.Read(within, Running, places) : null;

    /// <param name="hook">The hook.</param>
    /// <param name="name">Its option.</param>
    /// <param name="connection">What it is given.</param>
    /// <param name="blocking">Completes synchronously.</param>
    /// <param name="cancellationToken">Gives up; a hook that does not heed it is waited for all the same.</param>
    public ValueTask RunAsync(
        Func<NpgsqlConnection, CancellationToken, ValueTask> hook, string name, NpgsqlConnection connection, bool blocking, CancellationToken cancellationToken)
    {
        var running = Begin(hook, name, connection, cancellationToken);
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
    /// <param name="cancellationToken">The caller's.</param>
    /// <exception cref="TimeoutException">It had not ended by then.</exception>
    public async ValueTask RunWithinAsync(
        Func<NpgsqlConnection, CancellationToken, ValueTask> hook,
        string name,
        NpgsqlConnection connection,
        bool blocking,
        TimeSpan bound,
        CancellationToken cancellationToken)
    {
        using var timeout = new CancellationTokenSource(bound, clock.Provider);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(timeout.Token, cancellationToken);
        var running = Begin(hook, name, connection, either.Token);
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

    private ValueTask Begin(
        Func<NpgsqlConnection, CancellationToken, ValueTask> hook, string name, NpgsqlConnection connection, CancellationToken cancellationToken)
    {
        var call = new HookCall(name, clock.Exact, cancellationToken);

        // The awaits inside would go back to the caller's context, and the caller may block there.
        return SynchronizationContext.Current is null && TaskScheduler.Current == TaskScheduler.Default
            ? InvokeAsync(hook, call, connection, cancellationToken)
            : new ValueTask(Task.Run(() => InvokeAsync(hook, call, connection, cancellationToken).AsTask(), CancellationToken.None));
    }

    private async ValueTask InvokeAsync(
        Func<NpgsqlConnection, CancellationToken, ValueTask> hook, HookCall call, NpgsqlConnection connection, CancellationToken cancellationToken)
    {
        _running.TryAdd(call, 0);
        _wasAnyRun = true;
        _current.Value = call;
        try
        {
            await hook(connection, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            _running.TryRemove(call, out _);
            if (call is { KeepsPlace: true, IsAwaited: true })
            {
                _times.Note(call.Name, call.BegunAt, clock.Exact);
            }
        }
    }
}
