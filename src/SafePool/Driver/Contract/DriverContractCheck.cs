using Microsoft.Extensions.Logging;
using Npgsql;
using SafePool.Logging;

namespace SafePool.Driver.Contract;

/// <summary>
/// Looks once for a process whether the driver does what the pool takes for granted, and says so in one warning if it does not: another version of Npgsql may have come with another package.
/// </summary>
/// <remarks>
/// On a thread of the pool, when the first pool is created, and over the first connection that is opened: nothing is asked of the server, and no rent waits for it. Thread-safety: every member may
/// be called from any thread.
/// </remarks>
internal sealed class DriverContractCheck(
    IReadOnlyList<DriverAssumption<NpgsqlDataSource>> ofDriver, IReadOnlyList<DriverAssumption<NpgsqlConnection>> ofSession)
{
    // Nobody listens there, and nobody is asked: it is looked at, not opened.
    private const string Nowhere = "Host=127.0.0.1;Port=1;Username=nobody;Database=nothing;Timeout=1;Minimum Pool Size=2;Maximum Pool Size=2";

    private readonly TaskCompletionSource _finished = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _isBegun;
    private int _hasLooked;
    private int _isTold;

    /// <summary>The one of this process.</summary>
    public static DriverContractCheck OfProcess { get; } = new(DriverAssumptions.OfDriver, DriverAssumptions.OfSession);

    /// <summary>Ends when the driver has been looked at: a session is another matter.</summary>
    public Task Finished => _finished.Task;

    /// <summary>Whether everything held so far.</summary>
    public bool Holds => Volatile.Read(ref _isTold) == 0;

    /// <summary>Looks at the driver in the background, unless somebody has begun to.</summary>
    /// <param name="poolName">Of the pool that found a driver to look at.</param>
    /// <param name="logger">Must not throw.</param>
    public void Begin(string poolName, ILogger logger)
    {
        if (Interlocked.Exchange(ref _isBegun, 1) == 0)
        {
            // Unsafe: without the creator's ExecutionContext, which is nobody's business here.
            ThreadPool.UnsafeQueueUserWorkItem(
                static state => state.Check.LookAtDriver(state.PoolName, state.Logger), (Check: this, PoolName: poolName, Logger: logger), preferLocal: false);
        }
    }

    /// <summary>Looks at a session that was opened just now and that nobody has yet, unless one was looked at before: a few reads of memory.</summary>
    /// <param name="opened">Open.</param>
    /// <param name="poolName">Of its pool.</param>
    /// <param name="logger">Must not throw.</param>
    public void LookAt(NpgsqlConnection opened, string poolName, ILogger logger)
    {
        if (Volatile.Read(ref _hasLooked) == 0 && Interlocked.Exchange(ref _hasLooked, 1) == 0)
        {
            Tell(ofSession, opened, poolName, logger);
        }
    }

    private void LookAtDriver(string poolName, ILogger logger)
    {
        try
        {
            // With a name, so that nobody who reads Npgsql's meter in this moment takes it for a pool of his own.
            var builder = new NpgsqlDataSourceBuilder(Nowhere) { Name = "SafePool driver check" };
            using var nowhere = builder.Build();
            Tell(ofDriver, nowhere, poolName, logger);
        }
        catch (Exception error)
        {
            Warn(["a data source can be built (no pool can be built)"], error, poolName, logger);
        }
        finally
        {
            _finished.TrySetResult();
        }
    }

    private void Tell<TSubject>(IReadOnlyList<DriverAssumption<TSubject>> assumptions, TSubject subject, string poolName, ILogger logger)
    {
        var broken = new List<string>();
        Exception? first = null;
        foreach (var assumption in assumptions)
        {
            if (!Look(assumption, subject, ref first))
            {
                broken.Add($"{assumption.What} (otherwise {assumption.Otherwise})");
            }
        }

        if (broken.Count > 0)
        {
            Warn(broken, first, poolName, logger);
        }
    }

    private static bool Look<TSubject>(DriverAssumption<TSubject> assumption, TSubject subject, ref Exception? first)
    {
        try
        {
            return assumption.Holds(subject);
        }
        catch (Exception error)
        {
            // A member that is gone, most of all.
            first ??= error;
            return false;
        }
    }

    private void Warn(IEnumerable<string> broken, Exception? error, string poolName, ILogger logger)
    {
        if (Interlocked.Exchange(ref _isTold, 1) == 0)
        {
            var version = DriverAssumptions.Version?.ToString(3) ?? "unknown";
            Log.DriverIsUnknown(logger, poolName, version, string.Join("; ", broken), error);
        }
    }
}
