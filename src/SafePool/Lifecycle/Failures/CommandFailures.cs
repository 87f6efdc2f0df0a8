using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using System.Runtime.ExceptionServices;
using Npgsql;

namespace SafePool.Lifecycle.Failures;

/// <summary>Tells each pool which commands on its connections have failed, and by what (design decision 71). Costs a command that succeeds nothing.</summary>
/// <remarks>
/// <para>
/// Npgsql counts a failed command on the thread that throws its error in the next statement. So the one instrument is listened to, which says of which data source the command was, and the exception that this thread
/// throws next says the rest. Everything else, the errors of other libraries among it, is left after one look.
/// </para>
/// <para>Thread-safety: every member may be called from any thread. Pools are held weakly, and nobody listens while there is none.</para>
/// </remarks>
internal static class CommandFailures
{
    private const string DriverMeter = "Npgsql";
    private const string FailedCommands = "db.client.operation.failed";
    private const string PoolName = "db.client.connection.pool.name";

    private static readonly Lock _gate = new();
    private static readonly ConcurrentDictionary<string, WeakReference<SessionFailures>> _pools = new(StringComparer.Ordinal);
    private static MeterListener? _listener;

    [ThreadStatic]
    private static WeakReference<SessionFailures>? _failing;

    /// <summary>Begins to tell a pool of what fails on connections of the data source with this name.</summary>
    public static void Add(string dataSource, SessionFailures pool)
    {
        lock (_gate)
        {
            _pools[dataSource] = new WeakReference<SessionFailures>(pool);
            if (_listener is null)
            {
                AppDomain.CurrentDomain.FirstChanceException += OnThrown;
                _listener = Listen();
            }
        }
    }

    /// <summary>Ends that, under all names of the pool.</summary>
    public static void Remove(SessionFailures pool)
    {
        MeterListener? obsolete = null;
        lock (_gate)
        {
            foreach (var (name, reference) in _pools)
            {
                if (!reference.TryGetTarget(out var other) || other == pool)
                {
                    _pools.TryRemove(name, out _);
                }
            }

            if (_pools.IsEmpty && _listener is not null)
            {
                (obsolete, _listener) = (_listener, null);
                AppDomain.CurrentDomain.FirstChanceException -= OnThrown;
            }
        }

        obsolete?.Dispose();
    }

    /// <summary>The name of a data source of a pool: the pool's own, or what its user has chosen, made unique in the process; failures under it are then told to that pool too.</summary>
    /// <param name="own">The pool's own, under which it was <see cref="Add">added</see>.</param>
    /// <param name="chosen">The user's; null for none.</param>
    public static string Join(string own, string? chosen)
    {
        if (chosen is null || chosen == own || !_pools.TryGetValue(own, out var pool))
        {
            return chosen ?? own;
        }

        for (var number = 1; ; number++)
        {
            var candidate = number == 1 ? chosen : $"{chosen}-{number}";
            if (_pools.GetOrAdd(candidate, pool) is var holder && (holder == pool || (!holder.TryGetTarget(out _) && _pools.TryUpdate(candidate, pool, holder))))
            {
                return candidate;
            }
        }
    }

    private static MeterListener Listen()
    {
        var listener = new MeterListener
        {
            InstrumentPublished = static (instrument, listener) =>
            {
                if (instrument.Meter.Name == DriverMeter && instrument.Name == FailedCommands)
                {
                    listener.EnableMeasurementEvents(instrument);
                }
            },
        };
        listener.SetMeasurementEventCallback<int>(static (_, _, tags, _) => OnCounted(tags));
        listener.Start();
        return listener;
    }

    private static void OnCounted(ReadOnlySpan<KeyValuePair<string, object?>> tags)
    {
        foreach (var (key, value) in tags)
        {
            if (key == PoolName && value is string name)
            {
                _failing = _pools.TryGetValue(name, out var pool) ? pool : null;
                return;
            }
        }
    }

    /// <summary>Runs on the thread that throws, whatever it throws: must be quick and must not throw itself.</summary>
    private static void OnThrown(object? sender, FirstChanceExceptionEventArgs thrown)
    {
        var failing = _failing;
        if (failing is null && thrown.Exception is not PostgresException)
        {
            return;
        }

        _failing = null;
        if (thrown.Exception is PostgresException error)
        {
            try
            {
                Tell(failing, error);
            }
            catch (Exception)
            {
                // The user's exception is on its way; a second one from here would end the process.
            }
        }
    }

    private static void Tell(WeakReference<SessionFailures>? failing, PostgresException error)
    {
        if (failing is not null)
        {
            if (failing.TryGetTarget(out var pool))
            {
                pool.OnFailed(error);
            }
        }
        else if (FatalErrors.IsFatal(error) && FatalErrors.TryNote(error))
        {
            // Such an error is not counted: the connection broke with it. Which pool's it was shows by its broken connection.
            foreach (var (_, reference) in _pools)
            {
                if (reference.TryGetTarget(out var pool))
                {
                    pool.OnBroken(error);
                }
            }
        }
    }
}
